"""Views along diagonals: as `views` of a task, `tests.recipes.view.DiagonalViews`."""

import torch

from torchgeo_sits.transforms import MultiView, View, integers


class DiagonalView(View):
    """Planes along straight diagonals, to the lower or to the upper right."""

    def __init__(self, *, num_paths=8, length=16, dates=(0.4, 0.5), augment=None):
        super().__init__(dates=dates, augment=augment)
        self.num_paths = num_paths
        self.length = length

    def draw_paths(self, batch, *, region=None, generator=None):
        image = batch['image']
        height, width = image.shape[-2:]
        if self.length > min(height, width):
            raise ValueError(
                f'diagonals of {self.length} pixels do not fit {height} x {width} pixels: '
                'choose a shorter length'
            )
        shape = (len(image), self.num_paths, 1)
        draw = {'generator': generator, 'device': image.device}
        top = integers(height - self.length + 1, shape, **draw)
        left = integers(width - self.length + 1, shape, **draw)
        upwards = integers(2, shape, **draw) == 1
        step = torch.arange(self.length, device=image.device)
        row = top + torch.where(upwards, self.length - 1 - step, step)
        return row * width + left + step


class DiagonalViews(MultiView):
    """A few views of all their pixels, and local ones of half as long diagonals."""

    def __init__(
        self, *, global_views=2, local_views=0, num_paths=8, length=16, dates=(0.4, 0.5), augment
    ):
        options = {'num_paths': num_paths, 'dates': dates, 'augment': augment}
        super().__init__(
            DiagonalView(length=length, **options),
            DiagonalView(length=length // 2, **options),
            global_views=global_views,
            local_views=local_views,
        )

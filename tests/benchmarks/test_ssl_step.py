import torch

from benchmarks.ssl_step import BANDS, Measure, build_task
from torchgeo_sits.keys import Series


def test_pixel_dates_are_those_that_enter_an_encoder():
    task = build_task('tiny', 'SITSSimCLR')
    measure = Measure(task)
    times = torch.arange(5).expand(2, 5) * 86_400
    valid = torch.ones(2, 5, dtype=torch.bool)
    with torch.no_grad():
        planes = torch.zeros(2, 3, BANDS, 5, 8)
        task.encoder.encode_planes(
            Series(planes, times, valid, torch.ones(2, 3, 5, 8, dtype=torch.bool))
        )
        assert measure.pixel_dates == 2 * 3 * 5 * 8
        image = torch.zeros(2, 5, BANDS, 4, 4)
        task.encoder.encode_image(Series(image, times, valid))
    assert measure.pixel_dates == 2 * 3 * 5 * 8 + 2 * 5 * 4 * 4

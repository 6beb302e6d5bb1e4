"""Published models fine-tuned on one field of each class.

    python -m benchmarks.finetuned DATA WEIGHTS [--draws 20] [--models presto galileo_nano]

DATA holds the folders ``wc_be_a`` and ``wc_be_b``, WEIGHTS ``presto.safetensors`` and
``galileo_nano.safetensors``; results go to results/finetuned.json, model by model. Fields, training
(100 steps of six squares of 12 pixels, AdamW at 1e-3, a batch norm before the linear layer) and
scores are those of the study (study/supervised.py), which has the frozen features beside them;
labelled pixels alone are encoded.
"""

import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch

from study import published
from study.probes import draw_fields, labelled_pixels, scores, tested
from study.sites import belgium
from study.supervised import predict, train

from . import harness

MODELS = ('presto', 'galileo_nano')
THREADS = 1


def main() -> None:
    """Fine-tune each model on each draw of each series, and save the macro F1."""
    parser = harness.parser(__doc__)
    parser.add_argument('data', type=Path, help='folder with wc_be_a and wc_be_b')
    parser.add_argument('weights', type=Path, help='folder with the published weights')
    parser.add_argument('--draws', type=int, default=20, help='draws of labelled fields')
    parser.add_argument('--models', nargs='+', default=MODELS, choices=MODELS)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    sites = [published.in_units(site) for site in belgium(options.data)]
    results = harness.describe(draws=options.draws, steps=100, threads=THREADS)
    for name in options.models:
        for site in sites:
            pixels = labelled_pixels(site)
            wanted = torch.zeros(site.clear[0].numel(), dtype=torch.bool)
            wanted[pixels.index] = True
            shown = replace(site, clear=site.clear & wanted.view(site.clear.shape[1:]))
            found, seconds = [], []
            for draw in range(options.draws):
                start = time.process_time()
                labelled, held = (pixels.of(f) for f in draw_fields(pixels, '1', draw))
                encoder = published.build(name, 'mean', site.bands, options.weights)
                model = train(encoder, site, pixels, labelled, seed=draw)
                seconds.append(time.process_time() - start)
                guess = predict(model, shown, pixels)
                held = tested(held, draw)
                found.append(scores(pixels.classes[held], guess[held]))
                print(name, site.name, draw, found[-1], f'{seconds[-1]:.0f} s', flush=True)
            # Of another process, too, which has the other model.
            figures = harness.load('finetuned').get('figures', {})
            figures[f'{name}, {site.name}'] = {
                'f1_runs': [round(float(one[0]), 4) for one in found],
                'f1_mean': round(statistics.mean(float(one[0]) for one in found), 4),
                'training_cpu_s': round(statistics.median(seconds), 1),
            }
            harness.save('finetuned', results | {'figures': figures})


if __name__ == '__main__':
    main()

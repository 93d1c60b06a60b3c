#!/usr/bin/env python3
"""Compare whole logits of an engine with a reference's, position by position.

    python compare_logits.py FIXTURE REFERENCE.f32 ENGINE.f32

FIXTURE gives the shape and the names; both dumps are raw little-endian float32 [prompts * steps, vocabulary], as
logits_fixture.py says. The reference's comes from the fixture's maker with --full, the engine's from its golden tests
with SWITCHBOARD_LOGITS_DUMP set. Prints one line a prompt and the figures that the golden tests bound. Needs numpy.
"""

import argparse

import numpy as np

import logits_fixture


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fixture")
    parser.add_argument("reference")
    parser.add_argument("engine")
    arguments = parser.parse_args()

    header, _ = logits_fixture.load(arguments.fixture)
    shape = (len(header["prompts"]), header["steps"], header["vocabulary"])
    reference = np.memmap(arguments.reference, "<f4", "r", shape=shape)
    engine = np.memmap(arguments.engine, "<f4", "r", shape=shape)
    sample = np.array(header["sample"])

    rms, sampled_rms, largest, gaps = [], [], [], []
    agreements = 0
    for index, prompt in enumerate(header["prompts"]):
        difference = engine[index].astype(np.float64) - reference[index]
        centred = difference - difference.mean(axis=1, keepdims=True)
        rms.append(np.sqrt(np.square(centred).mean(axis=1)))
        sampled_rms.append(np.sqrt(np.square(centred[:, sample]).mean(axis=1)))
        largest.append(np.abs(difference).max(axis=1))
        agree = engine[index].argmax(axis=1) == reference[index].argmax(axis=1)
        agreements += int(agree.sum())
        top = np.partition(reference[index], -2, axis=1)
        gaps += (top[:, -1] - top[:, -2])[~agree].tolist()
        print(f"{prompt['name']}: largest difference {largest[-1].max():.4f}, "
              f"centred rms median {np.median(rms[-1]):.4f}, maximum {rms[-1].max():.4f}, "
              f"argmax agrees at {int(agree.sum())} of {len(agree)}")

    rms, sampled_rms = np.concatenate(rms), np.concatenate(sampled_rms)
    print(f"all {len(rms)} positions x {header['vocabulary']} logits: largest difference {np.max(largest):.4f}")
    print(f"centred rms: median {np.median(rms):.4f}, maximum {rms.max():.4f} "
          f"(from the sample of {len(sample)}: {np.median(sampled_rms):.4f}, {sampled_rms.max():.4f})")
    print(f"argmax agrees at {agreements / len(rms):.2%}, largest gap at a disagreement {max(gaps, default=0.0):.4f}")


if __name__ == "__main__":
    main()

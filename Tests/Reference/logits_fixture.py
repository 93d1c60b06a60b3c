"""The file format of the logits fixtures, shared by their makers; Swift reads it in GoldenFixture.swift.

    8 bytes   "SWLOGIT1"
    4 bytes   length of the header, unsigned
    header    JSON, UTF-8:
              steps    tokens generated for each prompt
              top      T, number of largest logits kept at each position
              vocabulary
              sample   S vocabulary ids whose logits are kept at each position, ascending
              prompts  [{"name", "text", "special", "prompt": [ids], "output": [steps ids]}]
              made_by  what computed the logits
    then one record for each prompt in order and each step in order, all little-endian, without padding:
              T int32    ids of the largest logits, largest first (the first is the argmax; ties: lowest id first)
              T float32  their logits
              float32    mean of the logits over the whole vocabulary
              S float32  logits of the sampled ids

Step 0 holds the logits after the whole prompt, step k those after output[k - 1] was fed. The gap of a position is
its first top logit minus its second. A dump of whole logits is raw float32 [prompts * steps, vocabulary] in the same
order.
"""

import json
import struct

import numpy as np

MAGIC = b"SWLOGIT1"


def sample_ids(vocabulary: int, count: int):
    """A fixed random sample of the vocabulary, the same on every machine and NumPy version."""
    generator = np.random.Generator(np.random.PCG64(20240229))
    return np.sort(np.argsort(generator.random(vocabulary), kind="stable")[:count]).astype(np.int32)


class Writer:
    def __init__(self, vocabulary: int, steps: int, top: int, sample: int, made_by: str, full_dump: str | None = None):
        self.header = {
            "steps": steps, "top": top, "vocabulary": vocabulary, "made_by": made_by,
            "sample": sample_ids(vocabulary, sample).tolist(), "prompts": [],
        }
        self.records = []
        self.dump = open(full_dump, "wb") if full_dump else None

    def begin_prompt(self, name: str, text: str, special: bool, prompt: list[int]):
        self.header["prompts"].append({"name": name, "text": text, "special": special, "prompt": prompt, "output": []})

    def add_step(self, logits) -> int:
        """Record one position's logits [V]; give its argmax, which is the next token."""
        logits = np.asarray(logits, "<f4")
        assert np.isfinite(logits).all()
        top = np.argsort(-logits, kind="stable")[: self.header["top"]]
        self.records.append(
            top.astype("<i4").tobytes() + logits[top].tobytes()
            + struct.pack("<f", logits.astype(np.float64).mean()) + logits[self.header["sample"]].tobytes())
        if self.dump:
            self.dump.write(logits.tobytes())
        token = int(top[0])
        self.header["prompts"][-1]["output"].append(token)
        return token

    def save(self, path: str):
        header = json.dumps(self.header, ensure_ascii=False, separators=(",", ":")).encode()
        with open(path, "wb") as file:
            file.write(MAGIC + struct.pack("<I", len(header)) + header)
            file.writelines(self.records)
        if self.dump:
            self.dump.close()


def load(path: str):
    """Give the header and the records as a structured array [prompts, steps]."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == MAGIC
    length = struct.unpack_from("<I", data, 8)[0]
    header = json.loads(data[12 : 12 + length])
    top, sample = header["top"], len(header["sample"])
    record = np.dtype([("top_ids", "<i4", top), ("top_logits", "<f4", top), ("mean", "<f4"), ("sample", "<f4", sample)])
    records = np.frombuffer(data, record, offset=12 + length)
    return header, records.reshape(len(header["prompts"]), header["steps"])

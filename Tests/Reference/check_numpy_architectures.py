"""Holds numpy_llama.py to llama.cpp's logits in architectures-llamacpp.json; prints the largest difference of each model."""

import json
import tempfile
from pathlib import Path

import gguf
import numpy as np

from made_weights import made
from numpy_llama import Cache, Llama

fixture = json.loads((Path(__file__).parent / "../LlamaEngineTests/Fixtures/architectures-llamacpp.json").read_text())
for case in fixture["cases"]:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.gguf"
        writer = gguf.GGUFWriter(path, case["architecture"])
        for key, value in case["metadata"].items():
            add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}[type(value)]
            add(f"{case['architecture']}.{key}", value)
        for name, shape in case["tensors"].items():
            writer.add_tensor(name, made(name, shape))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        model = Llama(path)
        logits = model.forward(fixture["tokens"], Cache(model.configuration, np.float16), every_row=True)
    difference = np.abs(logits[fixture["rows"]] - np.array(case["logits"])).max()
    print(f"{case['name']:16} {difference:.4f}")
    assert difference < 0.03

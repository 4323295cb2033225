# SPDX-License-Identifier: Apache-2.0
"""Malformed, odd and well-formed files of tensors and shard indexes, by the thousand, from a seed.

JSON is built from lists of pairs, so that a key may stand twice, and from Raw text, so that a
number may be spelled in ways that no writer would.
"""
import json
import struct

import weights


class Raw(str):
    """JSON text that goes out as it is."""


class Object(list):
    """Pairs of a key and a value; unlike a dict it may hold a key twice."""


def dump(value):
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Object):
        return "{" + ",".join(f"{dump(k)}:{dump(v)}" for k, v in value) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(dump, value)) + "]"
    return json.dumps(value)


NUMBERS = [Raw(text) for text in (
    "0", "-0", "-1", "1.0", "1e0", "1E2", "0.5", "01", "+1", ".5", "1.", "0x1", "NaN", "Infinity",
    "1e999", "-1e999", "4294967295", "4294967296", "9007199254740991", "9007199254740992",
    "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551615",
    "18446744073709551616", "1" + "0" * 40, "1" * 63, "1" * 64, "1" * 80, "3" * 400)]
ODD = NUMBERS + [None, True, False, "", "1", "x", [], [1], Object(), Object([("a", 1)]), Raw(""),
                 Raw("nul"), Raw("'a'"), Raw("[1,]"), Raw("[,1]"), Raw('{"a":1,}'), Raw('{"a"}'),
                 Raw('"\\ud800"'), Raw('"\\udc00\\ud800"'), Raw('"\\ud83d\\ude00"'),
                 Raw('"\\u0000"'), Raw('"\\u00e9\\/\\b"'), Raw('"\\x41"'), Raw('"\\u12"'),
                 Raw('"a\tb"'), Raw('"\x7f"'), Raw('"'), Raw("/**/1"), Raw("1 2")]
NAMES = ["", "a\0b", "\0", "n" * 4095, "n" * 4096, "n" * 4097, "é" * 2048, "é" * 2049, "\n",
         "__metadata", "__metadata__", " ", "a/../../b", "x" * 70000, "\x7f", "\u202e",
         Raw('"\\u0061"'), Raw('"\\uD834\\uDD1E"'), Raw('"\\ud800"'), Raw("1"), Raw("null")]
DTYPES = list(weights.BITS) + ["F64 ", "f32", "F128", "F8_E4M3FN", "F8_E3M4", "F3", "I4", "U1", "",
                               "BF16\0", "C128", Object([("U8", None)]), Object([("F32", None)]),
                               Object([("F32", 1)]), ["F32"], 32, None, Raw('"\\u00463\\u0032"')]
FIELDS = ["dtype", "shape", "data_offsets"]


def escaped(name):
    """The same string in other letters."""
    if isinstance(name, Raw) or not name or ord(name[0]) > 0xffff:
        return name
    return Raw(f'"\\u{ord(name[0]):04x}' + json.dumps(name[1:])[1:])


def nested(depth, rng):
    arrays = rng.random() < 0.5
    inner = rng.choice(["", "0", '"x"']) if arrays else '"x":0'
    return Raw("[" * depth + inner + "]" * depth if arrays
               else '{"x":' * (depth - 1) + "{" + inner + "}" + "}" * (depth - 1))


def tensors_of(rng):
    """A well-formed header and its data."""
    header, data, offset = Object(), b"", 0
    if rng.random() < 0.5:
        header.append(("__metadata__", Object([("format", "pt"), ("k", "é\n")])))
    for number in range(rng.randrange(0, 6)):
        dtype = rng.choice(list(weights.BITS))
        shape = [rng.choice([0, 1, 2, 3, 4, 7]) for _ in range(rng.randrange(0, 4))]
        count = 1
        for dim in shape:
            count *= dim
        if count * weights.BITS[dtype] % 8 != 0:
            shape, count = [8, *shape], 8 * count
        size = count * weights.BITS[dtype] // 8
        header.append((f"layer.{number}", Object([
            ("dtype", dtype), ("shape", shape), ("data_offsets", [offset, offset + size])])))
        data += rng.randbytes(size)
        offset += size
    if rng.random() < 0.3:
        rng.shuffle(header)
    return header, data


def change_tensor(tensor, rng):
    """One thing wrong, or only odd, in {"dtype", "shape", "data_offsets"}; may be another type."""
    shape, offsets = list(tensor[1][1]), list(tensor[2][1])
    kind = rng.randrange(13)
    if kind == 0:
        tensor[0] = ("dtype", rng.choice(DTYPES))
    elif kind == 1 and shape:
        shape[rng.randrange(len(shape))] = rng.choice(NUMBERS + ODD)
    elif kind == 2:
        rank = rng.choice([1, 2, 60, 61, 62, 63, 64, 65, 66, 5000])
        shape += [1] * max(0, rank - len(shape))
    elif kind == 3:
        shape = rng.choice([[*shape, 0, Raw("18446744073709551615")], [*shape, 1 << 32, 1 << 32],
                            [*shape, 0, 1 << 52], [*shape, 0, 1 << 53], shape[::-1], [],
                            [*shape, 2], [*shape, 1], [0, *shape]])
    elif kind == 4 and offsets:
        offsets[rng.randrange(len(offsets))] = rng.choice(NUMBERS + ODD)
    elif kind == 5:
        offsets = [offset + rng.choice([-8, -1, 0, 0, 1, 2, 8]) for offset in offsets]
    elif kind == 6:
        offsets = rng.choice([offsets[::-1], offsets[:1], [*offsets, 0], [], offsets * 2])
    elif kind == 7:
        del tensor[rng.randrange(3)]
        return tensor
    elif kind == 8:
        value = nested(rng.choice([1, 2, 20, 60, 61, 62, 63, 64, 65, 123, 124, 125, 126, 127, 128,
                                   200, 2000]), rng) if rng.random() < 0.4 else rng.choice(ODD)
        tensor.insert(rng.randrange(4), (rng.choice(["extra", "", "Dtype", "a\0"]), value))
        return tensor
    elif kind == 9:
        key, value = rng.choice(tensor)
        tensor.insert(rng.randrange(4), (rng.choice([key, escaped(key)]),
                                         rng.choice([value, *ODD])))
        return tensor
    elif kind == 10:
        return [value for _, value in tensor] + rng.choice([[], [], [], [1]])
    elif kind == 11:
        rng.shuffle(tensor)
        return tensor
    else:
        return rng.choice(ODD)
    tensor[1:] = [("shape", shape), ("data_offsets", offsets)]
    return tensor


def change_header(header, rng):
    kind = rng.randrange(10)
    spots = [i for i, (name, value) in enumerate(header) if name != "__metadata__" and
             isinstance(value, Object) and [key for key, _ in value] == FIELDS and
             all(type(number) is int for _, numbers in value[1:] for number in numbers)]
    if kind < 5 and spots:
        spot = rng.choice(spots)
        header[spot] = (header[spot][0], change_tensor(header[spot][1], rng))
    elif kind == 5 and spots:
        spot = rng.choice(spots)
        header[spot] = (rng.choice(NAMES), header[spot][1])
    elif kind == 6 and header:
        name, value = rng.choice(header)
        header.append((rng.choice([name, escaped(name)]), rng.choice([value, value, *ODD])))
    elif kind == 7:
        fields = Object([(rng.choice(["k", "", "format", "a\0"]), rng.choice(["v", *ODD]))
                         for _ in range(rng.randrange(0, 4))])
        header.insert(0, ("__metadata__", rng.choice([fields, fields, fields, *ODD])))
    elif kind == 8 and spots:
        del header[rng.choice(spots)]
    else:
        header.append((rng.choice(["extra", "", "x"]), rng.choice(ODD)))
    return header


def change_bytes(text, rng):
    """Damage that knows nothing of JSON."""
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        at, kind = rng.randrange(len(text) + 1), rng.randrange(5)
        span = rng.choice([1, 1, 2, 8])
        if kind == 0:
            text = text[:at] + rng.randbytes(span) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + span:]
        elif kind == 2 and at < len(text):
            text = text[:at] + bytes([text[at] ^ (1 << rng.randrange(8))]) + text[at + 1:]
        elif kind == 3:
            text = text[:at] + text[max(0, at - span):at] + text[at:]
        else:
            text = text[:at] + rng.choice([b" ", b"\t", b"\n", b"\r", b"\f", b"\v", b"\0", b",",
                                           b"}", b"{", b"]", b"[", b'"', b"\xef\xbb\xbf", b"\\",
                                           b"0", b"9", b"-", b".", b"e", b":"]) + text[at:]
    return text


AROUND = [b" ", b"\t\r\n ", b"\0", b"\xef\xbb\xbf", b"\f", b"}", b"\xc2\xa0", b"\xff", b"//"]


def file_mutant(rng):
    """The bytes of one candidate for a file of tensors."""
    header, data = tensors_of(rng)
    kind = rng.randrange(12)
    if kind < 7:
        for _ in range(rng.choice([1, 1, 1, 1, 2, 3])):
            header = change_header(header, rng)
    text = dump(header).encode("utf-8", "surrogatepass")
    if kind in (7, 8):
        text = change_bytes(text, rng)
    elif kind == 9:
        around = rng.choice(AROUND)
        text = rng.choice([around + text, text + around, text.replace(b":", b" :\n\t ")])
    size = len(text)
    if kind == 10:
        size = rng.choice([size - 1, size + 1, 0, 1, 2, size + len(data), size + len(data) + 1,
                           100_000_000, 100_000_001, 1 << 32, 1 << 63, (1 << 64) - 8,
                           (1 << 64) - 1])
    file = struct.pack("<Q", size) + text + data
    if kind == 11:
        file = rng.choice([file[:rng.randrange(len(file) + 1)], file + rng.randbytes(1),
                           file + bytes(8), file[:-1], file[:8], file[:7], b"",
                           struct.pack("<Q", size + 64) + text + b" " * 64 + data])
    return file


def index_of(shards, rng):
    """A well-formed index over `shards`, {file: tensor names}."""
    places = Object({name: shard for shard, names in shards.items() for name in names}.items())
    rng.shuffle(places)
    return Object([("metadata", Object([("total_size", 1234)])), ("weight_map", places)])


SHARD_NAMES = ["", ".", "..", "../s0.safetensors", "./s0.safetensors", "sub/s0.safetensors",
               "sub/../s0.safetensors", "/etc/passwd", "../../../../etc/passwd", "s0.safetensors/",
               "s0.safetensors\0", "s0.safetensors\0.safetensors", "none.safetensors",
               "s0.SAFETENSORS", "s0.bin", ".s0.safetensors", "..\\s0.safetensors",
               "C:s0.safetensors", "s0.safetensors ", " s0.safetensors", "s1.safetensors",
               "broken.safetensors", "folder.safetensors", "pipe.safetensors",
               "n" * 300 + ".safetensors", "s0.safetensors\n", "two words.safetensors",
               Raw('"s\\u0030.safetensors"'), Raw('"\\ud800.safetensors"'), "é.safetensors"]


def index_mutant(shards, rng):
    """The text of one candidate for an index over `shards`."""
    index = index_of(shards, rng)
    places = index[1][1]
    spot = rng.randrange(len(places))
    name, shard = places[spot]
    kind = rng.randrange(12)
    if kind < 3:
        places[spot] = (name, rng.choice(SHARD_NAMES))
    elif kind == 3:
        places[spot] = (name, rng.choice(ODD))
    elif kind == 4:
        places[spot] = (rng.choice([*NAMES, "no.such.tensor", name + "x"]), shard)
    elif kind == 5:
        places.append((rng.choice([name, escaped(name)]), rng.choice([shard, *shards, *ODD])))
    elif kind == 6:
        del places[:rng.choice([1, 1, len(places) - 1, len(places)])]
    elif kind == 7:
        index[0] = ("metadata", rng.choice([*ODD, *(Object([("total_size", odd)]) for odd in ODD)]))
    elif kind == 8:
        index[1] = (rng.choice(["weight_map", "Weight_map", "weightmap"]),
                    rng.choice([places, *ODD]))
    elif kind == 9:
        value = nested(rng.randrange(1, 200), rng) if rng.random() < 0.2 else rng.choice(ODD)
        index.insert(rng.randrange(3), (rng.choice(["extra", "weight_map", "metadata", "a\0"]),
                                        rng.choice([places, value, value])))
    text = dump(index).encode("utf-8", "surrogatepass")
    if kind == 10:
        text = change_bytes(text, rng)
    elif kind == 11:
        around = rng.choice(AROUND)
        text = rng.choice([around + text, text + around, text.replace(b":", b" :\n\t "), b""])
    return text

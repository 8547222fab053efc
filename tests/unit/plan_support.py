"""A second reading of csrc/plan.h's wire format, sharing no code with shim.model.plan.

Walks the blob byte by byte, as the executor does, and insists on every rule of plan_check.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Record:
    """One op as the executor would see it; strings are bytes without their terminator."""

    code: int
    flags: int
    fd: int
    num: list[int]
    nums: list[int] | None
    str: list[bytes | None]
    list2: list[bytes] | None
    list: list[bytes] | None  # last: the name hides the type


def u32(blob: bytes, at: int) -> int:
    assert 0 <= at <= len(blob) - 4, f"offset {at} is outside of {len(blob)} bytes"
    return int.from_bytes(blob[at : at + 4], "little")


def u64(blob: bytes, at: int) -> int:
    return u32(blob, at) | u32(blob, at + 4) << 32


class Reader:
    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        magic, version, total, self.nops, ops_off, self.data_off = (
            u32(blob, 4 * i) for i in range(6)
        )
        assert blob[:4] == b"SHPL"
        assert magic == 0x4C504853
        assert version == 1
        assert total == len(blob) <= 8 * 1024 * 1024
        assert 1 <= self.nops <= 4096
        assert ops_off == 24
        assert self.data_off == 24 + 64 * self.nops
        assert blob[-1] == 0

    def string(self, at: int) -> bytes:
        assert self.data_off <= at < len(self.blob)
        return self.blob[at : self.blob.index(0, at)]

    def array(self, at: int) -> list[int]:
        assert at >= self.data_off
        count = u32(self.blob, at)
        return [u32(self.blob, at + 4 + 4 * i) for i in range(count)]

    def record(self, i: int) -> Record:
        at = 24 + 64 * i
        words = [u32(self.blob, at + 40 + 4 * n) for n in range(6)]
        list1, list2, nums = words[3:]
        return Record(
            code=u32(self.blob, at) & 0xFFFF,
            flags=u32(self.blob, at) >> 16,
            fd=(u32(self.blob, at + 4) ^ 1 << 31) - (1 << 31),
            num=[u64(self.blob, at + 8 + 8 * n) for n in range(4)],
            str=[self.string(off) if off else None for off in words[:3]],
            list=[self.string(off) for off in self.array(list1)] if list1 else None,
            list2=[self.string(off) for off in self.array(list2)] if list2 else None,
            nums=self.array(nums) if nums else None,
        )


def unpack(blob: bytes) -> list[Record]:
    """Every record of a plan; AssertionError where the executor would refuse it."""
    reader = Reader(blob)
    return [reader.record(i) for i in range(reader.nops)]

from __future__ import annotations

import time
from typing import Any, Optional

import pytest

from agent.parse.times import dated, day_of, printed_time


@pytest.mark.parametrize("text, time", [
    (" [2025-09-05 16:08:14] iteration 1/2", "2025-09-05T16:08:14"),
    ("2025-03-04 00:44:44,441 - INFO - x", "2025-03-04T00:44:44.441"),
    ("2026-11-22T05:10:01.123456+08:00 host x", "2026-11-22T05:10:01.123456+08:00"),
    ("2026-11-22T05:10:01Z x", "2026-11-22T05:10:01Z"),
    ("[2026-11-22 05:10:01 +0800] [12] [INFO] x", "2026-11-22T05:10:01+08:00"),
    ("2026-11-22 05:10:01 -1000ms behind", "2026-11-22T05:10:01"),
    ("2026-11-22 05:10:01-123 x", "2026-11-22T05:10:01"),
    ("[ERROR] HCCL(60570,python):2025-11-19-11:14:58.516.606 [x.cc:11]", "2025-11-19T11:14:58.516606"),
    ("2025-05-21_15:43:03 x", "2025-05-21T15:43:03"),
    ("01/17/2024 13:47:27 [INFO|DP=0]: x", "2024-01-17T13:47:27"),
    ("[Sat Nov 22 10:11:12 2026] mce: x", "2026-11-22T10:11:12"),
    ("Sat Nov 22 10:11:12 CST 2026 x", "2026-11-22T10:11:12"),
    ("Nov 22 10:11:12 node1 kernel: x", "--11-22T10:11:12"),
    ("Nov  2 10:11:12.123456 node1 kernel: x", "--11-02T10:11:12.123456"),
    ("I1122 10:11:12.123456 139 x.cc:1] x", "--11-22T10:11:12.123456"),
    ("[rank16]:[W908 20:21:33.123456789 ProcessGroupNCCL.cpp:1] x", "--09-08T20:21:33.123456789"),
    ("W0522 08:50:26.344000 140 torch/distributed/run.py:792] x", "--05-22T08:50:26.344000"),
    ("1795324201.123456 node1 kernel: x", "2026-11-22T05:10:01.123456Z"),
    ("[1795324201.123] x", "2026-11-22T05:10:01.123Z"),
    ("[12345.678901] kernel: since the boot", None),
    ("rank 1122 10:11:12", None), ("Mayor 22 10:11:12", None), ("1795324201 samples: 3", None), ("", None),
])
def test_times(text: str, time: Optional[str]) -> None:
    assert printed_time(text) == time


def test_a_time_with_its_year_goes_before_one_without() -> None:
    assert printed_time("Nov 22 10:11:12 node1 python: 2026-11-22 10:11:11,5 x") == "2026-11-22T10:11:11.5"
    assert printed_time("2026-11-22 10:11:12 2026-11-22 10:11:13 x", last=True) == "2026-11-22T10:11:13"


@pytest.mark.parametrize("time, latest, full", [
    ("--11-22T10:11:12", (2026, 11, 22), "2026-11-22T10:11:12"), ("--11-23T00:11:12", (2026, 11, 22), "2026-11-23T00:11:12"),
    ("--12-31T23:59:59", (2027, 1, 1), "2026-12-31T23:59:59"), ("--01-01T00:00:01", (2026, 12, 31), "2027-01-01T00:00:01"),
    ("--12-01T00:00:01", (2026, 11, 30), "2026-12-01T00:00:01"), ("--11-25T00:00:01", (2026, 11, 22), "2025-11-25T00:00:01"),
    ("--11-22T10:11:12", None, None), ("2026-11-22T10:11:12", None, "2026-11-22T10:11:12"), (None, (2026, 1, 1), None)])
def test_the_year_of_a_time_without_one(time: Optional[str], latest: Any, full: Optional[str]) -> None:
    assert dated(time, latest) == full


def test_days() -> None:
    assert day_of("2026-11-22T10:11:12") == (2026, 11, 22)
    assert day_of("--11-22T10:11:12") is None and day_of(None) is None


@pytest.mark.parametrize("seconds", [1000000000, 1078012799, 1078012800, 1582934400, 1709164800, 1709251199, 1735689599, 1735689600, 1795324201, 1999999999])
def test_seconds_since_the_epoch_are_the_date_that_the_library_says(seconds: int) -> None:
    assert printed_time("%d.000 x" % seconds) == time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))

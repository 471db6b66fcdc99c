from __future__ import annotations

import cv2
import pytest
import torch

from dseinvert.errors import OutputError
from dseinvert.training.record import Record, grid


def test_a_table_has_a_header_and_a_row_a_step(tmp_path):
    record = Record(tmp_path, 0)
    record.add("training", 1, {"loss": 0.5, "mse": 1 / 3})
    record.add("training", 2, {"loss": 0.25, "mse": 0})
    record.close()
    assert (tmp_path / "training.csv").read_text().split() == [
        "step,loss,mse",
        "1,0.5,0.333333",
        "2,0.25,0",
    ]


def test_a_run_that_goes_on_writes_no_row_twice(tmp_path):
    (tmp_path / "training.csv").write_text("step,loss\n10,1\n20,2\n30,3\n4")
    record = Record(tmp_path, 20)
    record.add("training", 30, {"loss": 3.5})
    record.close()
    assert (tmp_path / "training.csv").read_text().split() == [
        "step,loss",
        "10,1",
        "20,2",
        "30,3.5",
    ]


def test_a_new_run_does_not_keep_rows_of_an_old_one(tmp_path):
    (tmp_path / "training.csv").write_text("step,loss\n0,1\n")
    record = Record(tmp_path, 0)
    record.add("training", 1, {"loss": 3})
    record.close()
    assert (tmp_path / "training.csv").read_text().split() == ["step,loss", "1,3"]


def test_tensorboard_is_optional(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    record = Record(tmp_path, 0)
    record.add("training", 1, {"loss": 3})
    record.close()
    assert [file.name for file in tmp_path.iterdir()] == ["training.csv"]


def test_figures_reach_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = Record(tmp_path, 0)
    record.add("training", 1, {"loss": 3})
    record.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("training/loss")] == [(1, 3)]


def test_a_folder_that_went_away_is_an_output_error(tmp_path):
    record = Record(tmp_path / "run", 0)
    record.ready.add("training")
    with pytest.raises(OutputError, match="cannot write"):
        record.add("nowhere/training", 1, {"loss": 3})


def test_a_grid_lays_rows_below_each_other():
    black, white = torch.full((2, 3, 4, 4), -1.0), torch.full((2, 3, 4, 4), 1.5)
    sheet = grid([black, white])
    assert sheet.shape == (8, 8, 3)
    assert sheet[:4].max() == 0 and sheet[4:].min() == 255


def test_a_grid_is_written_as_png(tmp_path):
    record = Record(tmp_path, 0)
    record.picture(5, [torch.zeros(3, 3, 4, 4)])
    record.close()
    assert cv2.imread(str(tmp_path / "grid-0000005.png")).shape == (4, 12, 3)


def test_a_row_of_fewer_pictures_ends_in_black() -> None:
    sheet = grid([torch.ones(3, 3, 4, 4), torch.zeros(1, 3, 4, 4)])
    assert sheet.shape == (8, 12, 3)
    assert (sheet[:4] == 255).all() and (sheet[4:, 4:] == 0).all() and (sheet[4:, :4] > 0).all()

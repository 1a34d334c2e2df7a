"""Trains, evaluates and asks a tiny Flan on the embedded samples, and shows what came of it.

python tools/demo.py [--out runs/demo] [--steps 300]
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
GIN_FILES = {"train": "flan_tiny.gin", "eval": "flan_tiny_eval.gin", "infer": "flan_tiny_infer.gin"}
SHOWN_PER_TASK = 2
WIDTH = 100


def main() -> None:
    """Runs the three programs of the engine, then prints a table."""
    arguments = parse_arguments()
    out = arguments.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    start = time.monotonic()
    model_dir = out / "model"
    checkpoint = model_dir / f"checkpoint_{arguments.steps}"
    run("train", MODEL_DIR=model_dir, TRAIN_STEPS=arguments.steps)
    run("eval", CHECKPOINT_PATH=checkpoint, EVAL_OUTPUT_DIR=out / "eval")
    run("infer", CHECKPOINT_PATH=checkpoint, INFER_OUTPUT_DIR=out / "infer")
    show(out, time.monotonic() - start)


def parse_arguments() -> argparse.Namespace:
    """Command line of the demo."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=ROOT / "runs" / "demo",
        help="where everything is written; emptied first",
    )
    parser.add_argument("--steps", type=int, default=300, help="training steps")
    return parser.parse_args()


def run(program: str, **bindings: object) -> None:
    """Runs `python -m t5x.<program>` as a user would; stops the demo if it fails."""
    values = [
        f"--gin.{name}={value if isinstance(value, int) else repr(str(value))}"
        for name, value in bindings.items()
    ]
    command = ["-m", f"t5x.{program}", f"--gin_file={GIN_FILES[program]}", *values]
    print(f"\n$ python {' '.join(command)}", flush=True)
    if subprocess.run([sys.executable, *command], cwd=ROOT).returncode:
        sys.exit(f"The demo stopped: t5x.{program} failed, see above.")


def show(out: pathlib.Path, seconds: float) -> None:
    """Prints losses, accuracies, some answers, and where everything lies."""
    metrics = [json.loads(line) for line in (out / "model" / "metrics.jsonl").open()]
    print(f"\n{'':26}{'before':>10}{'after':>10}")
    for title, name in (
        ("training samples", "train"),
        ("held-out samples", "training_eval/samples"),
    ):
        first, *_, last = (line for line in metrics if line["name"] == name)
        for measure in ("loss", "accuracy"):
            print(f"{title + ', ' + measure:26}{first[measure]:10.3f}{last[measure]:10.3f}")
    print(
        "Loss and accuracy are per target token, the right beginning of the answer being given.\n"
        "For the training samples they are those of the first and of the last ten steps."
    )
    for file in sorted((out / "infer").glob("*.jsonl-00000-of-00001")):
        show_answers(file)
    print(f"\nDone in {seconds:.0f} s. Look at:")
    print(f"  tensorboard --logdir {out / 'model'}    loss and accuracy over the steps")
    print(f"  {out / 'model' / 'metrics.jsonl'}    the same as JSON lines")
    print(f"  {out / 'eval'}    metrics of every task")
    print(f"  {out / 'infer'}    every prompt and answer")


def show_answers(file: pathlib.Path) -> None:
    """Prints some prompts of an inference file with the right answer and the model's."""
    for line in file.read_text().splitlines()[:SHOWN_PER_TASK]:
        example = json.loads(line)
        inputs = example["inputs"]
        print(f"\n  prompt  {in_one_line(inputs['inputs_pretokenized'])}")
        print(f"  wanted  {in_one_line(inputs['targets_pretokenized'])}")
        print(f"  model   {in_one_line(example['prediction'])}")


def in_one_line(text: str) -> str:
    """The text on one line, with its middle left out if it is long."""
    text = " ".join(text.split())
    return text if len(text) <= WIDTH else f"{text[: WIDTH // 2]} … {text[-WIDTH // 2 :]}"


if __name__ == "__main__":
    main()

"""Pretraining: `python -m pretrain METHOD --recipe NAME ...`, `list`, or `show RECIPE`."""

import sys

from pretrain.methods import METHODS
from slurm.cli import Parser, add_common_flags, choose, run_command
from slurm.files import check_writable
from slurm.outputs import write_json

PROG = "python -m pretrain"


def main(argv: list[str] | None = None) -> None:
    """The command: list what there is, or run one method."""
    words = sys.argv[1:] if argv is None else argv
    parser = Parser(
        prog=PROG,
        description="Train a backbone without labels and register it in the zoo.",
        epilog=f"{_list()}\n\n{PROG} METHOD --help shows the flags of a method.",
    )
    parser.add_argument("method", help=f"{', '.join(METHODS)}; list; or show RECIPE")
    if not words or words[0].startswith("-"):
        parser.parse_args(words)
    chosen = choose(words[0], [*METHODS, "list", "show"], "pretraining method")
    if chosen == "list":
        parser.parse_args(words)
        print(_list())
    elif chosen == "show":
        parser.add_argument("recipe", metavar="RECIPE", help="whose numbers are printed")
        print(_show(parser.parse_args(words).recipe))
    else:
        _run(words[0], words[1:])


def _list() -> str:
    lines = ["methods and their recipes:"]
    for name, method in METHODS.items():
        lines.append(f"  {name}: {method.SUMMARY}")
        lines += [f"    {recipe}" for recipe in method.recipe_names()]
    return "\n".join(lines)


def _show(recipe: str) -> str:
    from benchmarks.overrides import lines_of

    recipes = {name: method for method in METHODS.values() for name in method.recipe_names()}
    choose(recipe, recipes, "recipe")
    return "\n".join(lines_of(recipes[recipe].recipe(recipe)))


def _run(name: str, words: list[str]) -> None:
    method = METHODS[name]
    parser = Parser(prog=f"{PROG} {name}", description=f"{name}: {method.SUMMARY}.")
    method.add_flags(parser)
    add_common_flags(parser)
    args = parser.parse_args(words)

    from benchmarks.checkpoints.cards import card_path
    from benchmarks.commands import checks_of
    from slurm.distributed import find_world
    from slurm.executor import dry_run, launch_from, run_sweep
    from slurm.progress import say

    item = method.make_item(args)
    speaks = find_world().first
    launch = launch_from(args)
    done = item.done()
    if args.dry_run:
        dry_run([item], launch, args.json)
        if speaks:
            say(item.plan)
        return
    card = card_path(args.zoo, args.name)
    checks = checks_of([item])
    if not done or not all(check.done() for check in checks):
        check_writable(args.zoo)
        run_sweep([*checks, item], launch)
    if done and speaks:
        item.forget_state()
        say(f"{args.name} is registered already, trained to the end: {card}")
    if not speaks or (args.detach and not item.done()):
        return
    if not done:
        say(f"{args.name} is registered, as --ckpt {args.name}: {card}")
    if args.json:
        write_json(args.json, card.read_bytes())


if __name__ == "__main__":
    run_command(main, flag="--resume")

"""hash: the hashes by which sites and tools call a file, of one read; and checksum files. Needs no daemon."""

from __future__ import annotations

from pathlib import Path

import click

from .common import FAILED, json_option, one_line, print_json, stop

_HELP = {
    "sha256": "SHA-256 of the whole file; also when nothing is named.",
    "autov1": "A1111's first model hash: 8 digits of 64 KiB.",
    "autov2": "CivitAI's AutoV2: the first 10 digits of SHA-256.",
    "autov3": "CivitAI's AutoV3: 12 digits, the tensors of a safetensors file without its header.",
    "blake3": "BLAKE3 of the whole file (needs the extra `blake3`).",
    "crc32": "CRC-32 as in ZIP.",
}


@click.command("hash")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--sha256", "kinds", flag_value="sha256", multiple=True, help=_HELP["sha256"])
@click.option("--autov1", "kinds", flag_value="autov1", multiple=True, help=_HELP["autov1"])
@click.option("--autov2", "kinds", flag_value="autov2", multiple=True, help=_HELP["autov2"])
@click.option("--autov3", "kinds", flag_value="autov3", multiple=True, help=_HELP["autov3"])
@click.option("--blake3", "kinds", flag_value="blake3", multiple=True, help=_HELP["blake3"])
@click.option("--crc32", "kinds", flag_value="crc32", multiple=True, help=_HELP["crc32"])
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--write", is_flag=True, help="Leave FILE.sha256 beside each file, as sha256sum writes it; never over another one.")
@json_option
def hash_files(files: tuple[Path, ...], kinds: tuple[str, ...], everything: bool, write: bool, as_json: bool) -> None:
    """Print the hashes of files; each file is read once, however many are asked for.

    A checksum file beside a file (x.sha256, x.safetensors.sha256) is compared with it. What does not match, cannot be read, or has
    another checksum file than --write would leave is told on stderr, and the code is then 1. With --json one object a file.

    \b
    Example:
      dropdock hash model.safetensors
      dropdock hash --all --write ~/models/*.safetensors
    """
    from ...handlers import hashes

    wanted = tuple(hashes.KINDS) if everything else kinds or ("sha256",)
    if "blake3" in wanted and not hashes.has_blake3():
        if not everything:
            stop(hashes.NO_BLAKE3, 2)
        click.echo(f"dropdock: {hashes.NO_BLAKE3}", err=True)
    good = [_one(path, wanted, write, as_json) for path in files]
    raise click.exceptions.Exit(0 if all(good) else FAILED)


def _one(path: Path, wanted: tuple[str, ...], write: bool, as_json: bool) -> bool:
    """Hash, print, compare and write for one file; whether all went well."""
    from ...handlers import hashes
    from ...rules.readers.checksums import claim_of

    try:
        found = hashes.read_hashes(path, wanted)
        claim = claim_of(path, _beside(path))
        written = hashes.write_checksum(path, found.sha256) if write else None
    except OSError as error:
        return _bad(f"{path}: {error.strerror or error}")
    values = {kind: getattr(found, kind) for kind in wanted}
    if as_json:
        print_json({"path": str(path), **values, "matches": None if claim is None else claim.sha256 == found.sha256})
    elif tuple(wanted) == ("sha256",):
        click.echo(one_line(f"{found.sha256}  {path}"))
    else:
        click.echo(one_line(path))
        for kind, value in values.items():
            click.echo(f"  {kind:7} {value or 'none'}")
    fits = (
        claim is None
        or claim.sha256 == found.sha256
        or _bad(f"{path}: does not match {claim.path.name}, which says {claim.sha256}")
    )
    if written is hashes.Written.DIFFERS:
        return _bad(f"{path.name}.sha256 says something else: left as it is")
    return fits


def _beside(path: Path) -> tuple[Path, ...]:
    return tuple(path.with_name(name + ".sha256") for name in dict.fromkeys((path.name, path.stem)))


def _bad(text: str) -> bool:
    click.echo(one_line(f"dropdock: {text}"), err=True)
    return False

"""The embedded corpus's folder: generated on first use, and kept."""

import os
import shutil
from pathlib import Path

from filelock import FileLock

from trainable.system.cache import find_cache_folder, fingerprint_files


def generate_folder() -> Path:
    """The folder with the embedded corpus in MultiWOZ 2.2's layout; another one for every version
    of its generator's source."""
    from trainable.corpus import cambridge

    source = Path(cambridge.__file__)
    sources = sorted(source.parent.glob("*.py")) if source.name == "__init__.py" else [source]
    folder = find_cache_folder() / f"cambridge-{fingerprint_files(sources)}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            beside = folder.with_name(f"{folder.name}.{os.getpid()}.part")
            shutil.rmtree(beside, ignore_errors=True)
            cambridge.write_corpus(beside)
            os.replace(beside, folder)
    return folder

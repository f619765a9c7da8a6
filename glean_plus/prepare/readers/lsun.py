"""LSUN, one lmdb database a category (https://github.com/fyu/lsun)."""

from __future__ import annotations

from pathlib import Path

from glean_plus.prepare.items import DataError, Item, Listing, safe_name


def read(source: Path, category: str, split: str) -> Listing:
    """A folder with `data.mdb`: `bedroom_train_lmdb/` of the scenes, `cat/` of the objects, or that folder itself.

    Each entry is an encoded image (WebP or JPEG) by its key, 40 hex digits, which stay its name, as in GLEAN's list.

    Raises:
        DataError: If there is no database, or it is cut short or not readable.
    """
    import lmdb

    from glean_plus.prepare.decode import open_database  # takes a while to import

    candidates = [f'{category}_{split}_lmdb', f'{category}_{split}']
    if split == 'train':
        candidates += [category, f'{category}_lmdb']
    found = [source / name for name in (*candidates, '.') if (source / name / 'data.mdb').is_file()]
    if not found:
        raise DataError(f'LSUN: no data.mdb in {source} or its folders {", ".join(candidates)}.')
    root = found[0]
    data = root / 'data.mdb'
    listing = Listing()
    try:
        with open_database(str(root)) as environment:
            # Reading past the end of a database that was not downloaded whole would crash the process.
            needed = (environment.info()['last_pgno'] + 1) * environment.stat()['psize']
            if (actual := data.stat().st_size) < needed:
                raise DataError(f'LSUN: {data} has {actual} bytes, not {needed}: download it again.')
            with environment.begin() as transaction:
                for key in transaction.cursor().iternext(values=False):
                    text = key.decode('utf-8', 'surrogateescape')
                    listing.items.append(Item(safe_name(text).replace('/', '%2F'), text, str(root), key))
    except lmdb.Error as error:
        raise DataError(f'LSUN: {data} is no lmdb database that can be read ({error}): download it again.') from error
    return listing

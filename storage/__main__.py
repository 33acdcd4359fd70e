"""For operators: what schema a database is at, and back to an earlier one before an older release is run.

python -m storage URL               show the revision
python -m storage URL REVISION      go back to REVISION, with every gateway that uses the database stopped
"""

from __future__ import annotations

import argparse
import sys

from domain.errors import StateUnavailable
from storage import schema
from storage.database import MIGRATION, Database


def main(arguments: list[str]) -> int:
    """Do what the command line says; 1 when it could not be done."""
    parser = argparse.ArgumentParser(
        prog="python -m storage", description="The schema of a durable database."
    )
    parser.add_argument("url", help="as in state.database; an older schema is brought to the newest first")
    parser.add_argument("revision", nargs="?", help="go back to it: 0001, or base for what was before it")
    given = parser.parse_args(arguments)
    try:
        database = Database.open(given.url, bound=MIGRATION)
    except StateUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    try:
        if given.revision is not None:
            database.write(lambda on: schema.downgrade(on, given.revision))
        print(database.read(schema.revision) or "base")
    except (StateUnavailable, schema.Unfit) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

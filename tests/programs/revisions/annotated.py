# ruff: noqa: UP007, UP035
# As older versions of Alembic write it.
from typing import Sequence, Union
from alembic import op

revision: str = "e"
down_revision: Union[str, Sequence[str], None] = "d"
branch_labels: Union[str, Sequence[str], None] = ("tables",)
depends_on: Union[str, Sequence[str], None] = None


def upgrade() -> None:
    op.execute("CREATE TABLE t_e ()")


def downgrade() -> None:
    op.execute("DROP TABLE t_e")

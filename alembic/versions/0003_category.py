"""Categories, three of them from the start.

Revision ID: 0003
Revises: 0002
Create Date: 2025-10-06 11:05:27
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    category = op.create_table(
        "category",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_category")),
        sa.UniqueConstraint("name", name=op.f("uq_category_name")),
    )
    op.bulk_insert(category, [{"name": "Books"}, {"name": "Games"}, {"name": "Music"}])
    op.add_column("product", sa.Column("category_id", sa.Integer(), nullable=True))
    op.create_foreign_key(
        op.f("fk_product_category_id_category"),
        "product",
        "category",
        ["category_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_index(op.f("ix_product_category_id"), "product", ["category_id"])


def downgrade() -> None:
    op.drop_column("product", "category_id")
    op.drop_table("category")

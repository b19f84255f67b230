op.create_table(
    "author",
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
)
op.create_table(
    "book",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("author_id", sa.Integer),
    sa.Column("title", sa.String(50)),
    sa.Column("price", sa.Numeric(8, 2), server_default="1.50"),
    sa.Column("pages", sa.Integer, nullable=False, comment="without the cover"),
)
op.create_table("note", sa.Column("body", sa.Text), sa.Column("n", sa.Integer))

-- Layers: the writes of a fixture become part of the state, and are later removed from it together. The
-- caller chooses the number of a layer (0: the template). Layers can be removed in any order.

CREATE UNLOGGED TABLE pgtemplate.layer_relation (
    layer         int    NOT NULL,
    relation      oid    NOT NULL,
    truncate_size bigint NOT NULL,      -- values of pgtemplate.relation before the layer
    last_ctid     tid    NOT NULL,
    PRIMARY KEY (layer, relation)
);

CREATE UNLOGGED TABLE pgtemplate.layer_sequence (
    change_number int     PRIMARY KEY,  -- in the order of the changes
    layer         int     NOT NULL,
    id            oid     NOT NULL,
    last_value    bigint  NOT NULL,     -- before the layer
    is_called     boolean NOT NULL
);

CREATE UNLOGGED TABLE pgtemplate.removed_row (   -- rows of layers that the current reset removes
    relation oid NOT NULL,
    row_ctid tid NOT NULL
);

CREATE INDEX ON pgtemplate.baseline (layer) WHERE layer > 0;
CREATE INDEX ON pgtemplate.baseline (replaced_by) WHERE replaced_by IS NOT NULL;

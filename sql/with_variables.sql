-- Run one statement with other variables: if_unlocked, looking_up_each, ending_soon. All of them are set at once: of two SET STATEMENT,
-- one within the other, only the inner one has an effect.
SET STATEMENT {variables} FOR
{statement}

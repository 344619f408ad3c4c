package tinyufo

import "testing"

// A use that is counted after its entry was removed stands in a lane without a tag.
func TestTable_movesAChainWithALateUse(t *testing.T) {
	c := New(Options[int, int]{Entries: 8, Shards: 1})
	c.Set(1, 1)
	b, lane, _ := c.table.Load().lookup(uint32(c.hasher.of(1)), 1)
	c.Delete(1)
	b.use(b.word.Load(), lane)
	c.Resize(1000)
	c.Set(1, 2)
	if v, _ := c.Get(1); v != 2 {
		t.Errorf("%d", v)
	}
	c.audit(t)
}

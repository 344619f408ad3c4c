package metrics

import (
	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/observe"
)

// tablesMax bounds the lists, maps and databases that have series.
const tablesMax = 1000

// RegisterTables lists what is known of lists, maps and databases. read returns it, on any goroutine.
func (c *Counters) RegisterTables(read func() []language.Table) {
	type yields = func(value float64, labels ...observe.Label)
	each := func(show func(t *language.Table, yield yields)) func(yield yields) {
		return func(yield yields) {
			all := read()
			for i := range all[:min(len(all), tablesMax)] {
				t := &all[i]
				show(t, func(value float64, more ...observe.Label) {
					labels := []observe.Label{{Name: "kind", Value: t.Kind}, {Name: "name", Value: t.Name}}
					yield(value, append(labels, more...)...)
				})
			}
		}
	}
	c.Registry.Gauges("edge_list_entries", "Entries of lists, maps and databases.",
		each(func(t *language.Table, yield yields) { yield(float64(t.Entries)) }))
	c.Registry.Gauges("edge_list_last_success_timestamp_seconds",
		"When a list, a map or a database was last found right: by a reload, or by a look at its file.",
		each(func(t *language.Table, yield yields) { yield(float64(t.Right.UnixNano()) / 1e9) }))
	c.Registry.Counters("edge_list_refreshes_total",
		"Looks at the files of lists, maps and databases that have a refresh. After a failed one what was there stays.",
		each(func(t *language.Table, yield yields) {
			for result, n := range map[string]uint64{
				"changed": t.Changed, "unchanged": t.Unchanged, "failed": t.Failed,
			} {
				yield(float64(n), observe.Label{Name: "result", Value: result})
			}
		}))
}

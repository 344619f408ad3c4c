package changes

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
)

// Diff is what a reload changes: "listener web", "route api", "upstream users", "log", "global".
type Diff struct {
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	Changed []string `json:"changed,omitempty"`
	Restart []string `json:"restart,omitempty" doc:"Keys that take effect after a restart or an upgrade."`
	Entries []Entry  `json:"entries,omitempty" doc:"What is added, removed and changed, with more about each."`
}

// Action says what becomes of an entry.
type Action string

// The actions.
const (
	Added   Action = "added"
	Removed Action = "removed"
	Changed Action = "changed"
)

// Sign returns "+", "-" or "~".
func (a Action) Sign() string { return map[Action]string{Added: "+", Removed: "-", Changed: "~"}[a] }

// Entry is a part of a configuration that a reload adds, removes or changes.
type Entry struct {
	Action  Action   `json:"action" enum:"added,removed,changed"`
	Kind    string   `json:"kind" doc:"listener, route, upstream, …"`
	Name    string   `json:"name,omitempty"`
	Keys    []string `json:"keys,omitempty" doc:"That differ, by their paths inside the entry."`
	Details []string `json:"details,omitempty" doc:"Addresses and backends, as in: + backend 10.0.0.1:80."`
	Touches []Touch  `json:"touches,omitempty" doc:"Connections; none: all go on undisturbed."`
}

// Title returns the kind and the name.
func (e *Entry) Title() string { return titleOf(e.Kind, e.Name) }

func titleOf(kind, name string) string {
	if name == "" {
		return kind
	}
	return kind + " " + name
}

// Effect is what becomes of connections.
type Effect string

// The effects.
const (
	Undisturbed Effect = "undisturbed" // they are served to their end, though nothing new comes to their address
	Drained     Effect = "drained"     // what is under way runs to its end, and nothing new begins
	Closed      Effect = "closed"
)

// Touch is what becomes of some connections.
type Touch struct {
	Connections string `json:"connections" doc:"of clients; to backends, idle; to backends, busy."`
	Effect      Effect `json:"effect" enum:"undisturbed,drained,closed"`
	Open        *int   `json:"open,omitempty" doc:"How many are open now; none: they were not counted."`
}

// The connections of a Touch.
const (
	OfClients    = "of clients"
	IdleBackends = "to backends, idle"
	BusyBackends = "to backends, busy"
)

// Empty reports whether nothing changes.
func (d *Diff) Empty() bool {
	return len(d.Added)+len(d.Removed)+len(d.Changed)+len(d.Restart) == 0
}

// Listeners reports whether a listener is among what changes.
func (d *Diff) Listeners() bool {
	return slices.ContainsFunc(d.Entries, func(e Entry) bool { return e.Kind == "listener" })
}

// LogValue shows what changes as attributes of a line of the event log.
func (d Diff) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, list := range []struct {
		name  string
		items []string
	}{{"added", d.Added}, {"removed", d.Removed}, {"changed", d.Changed}, {"restart", d.Restart}} {
		if len(list.items) > 0 {
			attrs = append(attrs, slog.Any(list.name, list.items))
		}
	}
	return slog.GroupValue(attrs...)
}

// Of compares two configurations.
func Of(old, next *config.Config) Diff {
	var d Diff
	before, after := partsOf(old), partsOf(next)
	seen := make(map[[3]any]any, len(before))
	for i := range yield.Over(len(before)) {
		seen[before[i].id()] = before[i].value
	}
	c := comparison{old: old, next: next, addresses: [2]map[address]bool{addressesOf(old), addressesOf(next)}}
	for i := range yield.Over(len(after)) {
		p := &after[i]
		id := p.id()
		was, found := seen[id]
		delete(seen, id)
		switch {
		case !found:
			d.Added = append(d.Added, p.title())
			d.Entries = append(d.Entries, c.added(p))
		case !schema.Equal(was, p.value):
			d.change(c.changed(p, was))
		}
	}
	for i := range yield.Over(len(before)) {
		p := &before[i]
		if _, left := seen[p.id()]; left {
			d.Removed = append(d.Removed, p.title())
			d.Entries = append(d.Entries, c.removed(p))
		}
	}
	d.addTables(next)
	d.Restart = append(config.RestartKeys(old, next), socketKeys(old, next)...)
	return d
}

// change adds a part that is changed. The parts of one section that others extend are one entry.
func (d *Diff) change(e Entry) {
	same := func(of Entry) bool { return of.Kind == e.Kind && of.Name == "" }
	if i := slices.IndexFunc(d.Entries, same); e.Name == "" && i >= 0 {
		d.Entries[i].Keys = append(d.Entries[i].Keys, e.Keys...)
		return
	}
	d.Changed, d.Entries = append(d.Changed, e.Title()), append(d.Entries, e)
}

// addTables adds the lists and maps that are written as before, and whose files have other content than what is in
// force.
func (d *Diff) addTables(next *config.Config) {
	for _, title := range next.Language.Differing() {
		if slices.Contains(d.Changed, title) {
			continue
		}
		kind, name, _ := strings.Cut(title, " ")
		d.Changed = append(d.Changed, title)
		d.Entries = append(d.Entries, Entry{Action: Changed, Kind: kind, Name: name, Details: []string{"~ its file"}})
	}
}

// socketPrefix begins the names of socketKeys.
const socketPrefix = "listeners."

// OfSockets reports whether a key of Diff.Restart is one of a listener whose sockets stay open.
func OfSockets(key string) bool { return strings.HasPrefix(key, socketPrefix) }

// socketKeys returns the keys that wait for a restart because they belong to sockets that stay open: sockets of
// addresses that both configurations listen on.
func socketKeys(old, next *config.Config) (keys []string) {
	opened := make(map[address]*config.Listener)
	for _, l := range old.Listening() {
		for _, a := range l.Addresses {
			opened[addressOf(&a)] = l
		}
	}
	for _, l := range next.Listening() {
		for _, a := range l.Addresses {
			was := opened[addressOf(&a)]
			if was == nil {
				continue
			}
			for _, key := range was.RestartKeys(l) {
				if !slices.Contains(keys, key) {
					keys = append(keys, key)
				}
			}
		}
	}
	return keys
}

// Render writes d for people: an entry a line, with what differs in it, and which connections that touches.
//
//	~ upstream users: backends
//	    - backend 10.0.0.1:80
//	    connections to backends: idle ones (3) are closed, busy ones (1) are drained
//	connections of clients: none is closed
func (d *Diff) Render(w io.Writer) error {
	var b strings.Builder
	for i := range d.Entries {
		e := &d.Entries[i]
		fmt.Fprint(&b, e.Action.Sign(), " ", e.Title())
		if len(e.Keys) > 0 {
			fmt.Fprint(&b, ": ", strings.Join(e.Keys, ", "))
		}
		b.WriteByte('\n')
		for _, detail := range e.Details {
			fmt.Fprintln(&b, "   ", detail)
		}
		e.renderTouches(&b)
	}
	if len(d.Restart) > 0 {
		fmt.Fprintf(&b, "after a restart or an upgrade alone: %s\n", strings.Join(d.Restart, ", "))
	}
	if d.Empty() {
		b.WriteString("nothing changes\n")
	} else {
		b.WriteString("connections of clients: none is closed\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (e *Entry) renderTouches(b *strings.Builder) {
	if i := slices.IndexFunc(e.Touches, func(t Touch) bool { return t.Connections == OfClients }); i >= 0 {
		fmt.Fprintf(b, "    connections of clients%s: served to their end\n", e.Touches[i].number())
	}
	i := slices.IndexFunc(e.Touches, func(t Touch) bool { return t.Connections == IdleBackends })
	j := slices.IndexFunc(e.Touches, func(t Touch) bool { return t.Connections == BusyBackends })
	if i >= 0 && j >= 0 {
		fmt.Fprintf(b, "    connections to backends: idle ones%s are closed, busy ones%s are drained\n",
			e.Touches[i].number(), e.Touches[j].number())
	}
}

// number returns how many connections are open, in brackets, or "".
func (t *Touch) number() string {
	if t.Open == nil {
		return ""
	}
	return fmt.Sprintf(" (%d)", *t.Open)
}

package changes

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

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

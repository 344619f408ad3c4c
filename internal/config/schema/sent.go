package schema

import (
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin/tags"
)

// Sent says that a client has sent the text of a configuration. Such a text includes no files. It also must not contain
// tags.Hidden, which Document.Written shows in place of a secret: the secret would be lost.
// Immutable.
type Sent struct {
	// Known are what the text may name on this machine. Then it quotes neither ${NAME} nor ${file:…}: the client could
	// read the variable or the file in a header field or an error page. nil is for a client that may read the files of
	// the process anyway: nothing is refused.
	Known Namings
}

// Naming is a text by which a key names something of this machine: a file, a Unix socket, a source of backends, of
// which some use credentials of the machine.
type Naming struct {
	Key  string // with the path of its section, or of the section that its entries are grouped into
	Text string
}

// Namings are the namings of a configuration.
type Namings map[Naming]bool

// localMarks are in texts that name something of this machine, whatever their key.
var localMarks = []string{"unix:", "file:", "static:"}

// notNames are values of Local keys that name no file.
var notNames = map[string]bool{"internal": true, "acme": true, "stdout": true, "stderr": true, "off": true}

// inFull are members of a value that hold a text itself. The other members name a file with a text.
var inFull = map[string]bool{"body": true, "type": true}

// note records what the value n of k names on this machine, and reports what the client that has sent it may not write.
func (d *Decoder) note(k *Key, n *syntax.Node) {
	for _, c := range n.Children {
		d.note(k, c)
	}
	if n.Kind != syntax.KindString {
		return
	}
	doc := d.doc
	local := k.Local && !notNames[n.Text] && !inFull[n.Key]
	for _, mark := range localMarks {
		local = local || strings.Contains(n.Text, mark)
	}
	section := k.section.Path
	if k.section.Lists != "" { // however they are written, they are the same names
		section = k.section.Lists
	}
	as := Naming{syntax.JoinKey(section, k.Path), n.Text}
	if local {
		doc.Namings[as] = true
	}
	switch sent := doc.sent; {
	case sent == nil:
	case strings.Contains(n.Text, tags.Hidden):
		doc.refuse(n, "write the value, or quote a file as ${file:/path}", "%s stands for a secret that was hidden",
			syntax.Quote(tags.Hidden))
	case local && sent.Known != nil && !sent.Known[as]:
		doc.refuse(n, "root and the user of the process may send it over the Unix socket of [admin]",
			"this client may not name %s at %q: the configuration in force does not", syntax.Quote(n.Text), as.Key)
	}
}

// refuse reports a value that a client may not send. It clears Whole, so that no file is looked at.
func (doc *Document) refuse(n *syntax.Node, hint, format string, args ...any) {
	doc.Whole = false
	doc.Report.Errorf(n.Value, hint, format, args...)
}

// refuseQuotes reports each variable and file that the text of a client quotes.
func (l *loader) refuseQuotes(n *syntax.Node) {
	if n.Kind == syntax.KindString && strings.Contains(strings.ReplaceAll(n.Text, "$${", ""), "${") {
		l.doc.refuse(n, "a literal ${ is written $${; root and the user of the process may send it over the Unix "+
			"socket of [admin]", "this client may quote neither ${NAME} nor ${file:…}")
		n.Kind = syntax.KindLost
	}
	for _, c := range n.Children {
		l.refuseQuotes(c)
	}
}

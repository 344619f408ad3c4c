package config

import (
	"strings"

	"github.com/edge-proxy/edge/internal/config/syntax"
)

// folderScheme begins a dest that names a folder with files.
const folderScheme = "static:"

// folders returns the tables of [destinations] that the dest of routes and rules in root stand for: "static:/srv/www"
// is a destination of that name, of type static, whose root is the folder.
func folders(root *syntax.Node) *syntax.Node {
	tables := syntax.NewTable("destinations", syntax.Span{})
	known := root.Child("destinations")
	var walk func(n *syntax.Node)
	walk = func(n *syntax.Node) {
		for _, c := range n.Children {
			walk(c)
		}
		dir, found := strings.CutPrefix(n.Text, folderScheme)
		if n.Key != "dest" || n.Kind != syntax.KindString || !found || tables.Child(n.Text) != nil ||
			known != nil && known.Child(n.Text) != nil {
			return
		}
		d := syntax.NewTable(n.Text, n.Value)
		d.Add(syntax.NewString("type", "static", n.Value))
		d.Add(syntax.NewString("root", dir, n.Value))
		tables.Add(d)
	}
	walk(root)
	if len(tables.Children) == 0 {
		return nil
	}
	all := syntax.NewTable("", syntax.Span{})
	all.Add(tables)
	return all
}

package format

import (
	"github.com/edge-proxy/edge/internal/config/syntax"
	"slices"
)

// TOML returns the text of src, which is TOML, in the form that the doc of the package describes. The report says what
// keeps it from being formatted; out is nil then.
func TOML(src *syntax.Source) (out []byte, rep *syntax.Report) {
	rep = &syntax.Report{}
	before, whole := syntax.ParseTOML(src, rep)
	if !whole || !rep.OK() {
		if rep.OK() {
			rep.Errorf(src.Begin(), "", "a part of the file has no meaning, so it is not formatted")
		}
		return nil, rep
	}
	s := &scanner{text: src.Text}
	all := s.statements()
	if s.failed {
		rep.Errorf(src.Span(s.at, s.at), "", "this is written in a way that edge fmt does not know")
		return nil, rep
	}
	space(all)
	out = []byte(render(topLines(all), ""))
	again := &syntax.Report{}
	after, whole := syntax.ParseTOML(syntax.NewSource(src.Name, out, 0), again)
	if !whole || !again.OK() || !Same(before, after) {
		rep.Errorf(src.Begin(), "", "the file would mean something else after edge fmt, so it is left as it is")
		return nil, rep
	}
	return out, rep
}

// Same reports whether two trees of TOML say the same in the same order, wherever they stand.
func Same(a, b *syntax.Node) bool {
	return a.Kind == b.Kind && a.Key == b.Key && a.Text == b.Text && a.Origin == b.Origin &&
		slices.EqualFunc(a.Children, b.Children, Same)
}

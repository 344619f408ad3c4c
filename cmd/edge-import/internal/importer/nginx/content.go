package nginx

import (
	"cmp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// branchesOf returns the branches of a location: of what answers first for some of its requests, and of all others.
func (im *importer) branchesOf(s *server, l place) (list []plan.Branch) {
	t := &plan.Target{Name: plan.Name(l.path)}
	rest := plan.Branch{When: l.when, To: t, What: l.d.text(), From: []plan.Place{l.d.at}}
	c := context{s, l.scope, l.location, nil}
	if d := l.scope.get("internal"); d != nil {
		l.d.each(func(d *directive) { d.used, t.From = true, append(t.From, d.at) })
		t.End = plan.Deny(404)
		return []plan.Branch{rest}
	}
	if l.regular() && l.cond.Known() {
		c.groups = l.cond
	}
	im.fill(c, t, im.rewritePhase(c))
	var kept []plan.Step
	for i, step := range t.Steps {
		switch name := step.Do[0].Name; {
		case strings.HasPrefix(name, "headers.") || name == "dest":
			kept = append(kept, step)
		case answers(step) && step.When != nil && step.When.Known():
			to := &plan.Target{End: step.Do[0]}
			im.responseFields(l.scope, to, false)
			when := plan.All(l.when, step.When)
			list = append(list, plan.Branch{When: when, To: to, What: step.What, From: step.From})
		default:
			t.Steps = append(kept, t.Steps[i:]...)
			return append(list, rest)
		}
	}
	t.Steps = kept
	return append(list, rest)
}

// fill adds to t what a location does, after the steps of p.
func (im *importer) fill(c context, t *plan.Target, p phase) {
	if d := c.at.own("access_log"); d != nil && !hasVariables(d.arg(0)) {
		set(t, "access_log", logTarget(d), d.at)
	}
	im.again = append(im.again, p.again...)
	named := plan.Always
	if d := c.at.own("limit_except"); d != nil {
		named = im.exceptMethods(c, d, t, &p)
	}
	d, o := c.byName()
	if o == nil || p.end != nil {
		im.responseFields(c.at, t, p.end == nil && c.hasFiles())
	}
	if p.end != nil {
		t.Steps, t.End, t.From = append(t.Steps, p.steps...), p.end.Do[0], append(t.From, p.end.From...)
		return
	}
	e := im.entryOf(c)
	if o == nil {
		last := im.content(c, t)
		if t.End.Name == "dest" {
			var from []plan.Place
			e.encoders, from = im.compress(c.at)
			t.From = append(t.From, from...)
		}
		t.Steps = slices.Concat(t.Steps, p.steps, last, im.guards(c, e, named, c.l.d, t))
	} else {
		first := c.looksFirst(d, o)
		if !first {
			im.Lose(d.at, d.text(), "edge looks for no file before: all requests go to location @"+o.path)
		}
		t.Steps, t.From = append(t.Steps, p.steps...), append(t.From, d.at, o.d.at)
		t.Steps = append(t.Steps, im.guards(c, e, named, c.l.d, t)...)
		inside := *o
		inside.path, inside.mark = c.l.path, c.l.mark
		o.scope.own("internal")
		within := context{c.server, o.scope, &inside, nil}
		im.fill(within, t, im.rewritePhase(within))
		if first && t.End.Name == "dest" {
			im.files(c, t, t.End.Value)
		}
	}
	if n := len(t.Steps) - 1; o == nil && e.refused == "true" && named == plan.Always {
		t.Steps, t.End, t.Keys = t.Steps[:n], plan.Deny(403), nil
	}
}

// exceptMethods limits the steps of p to the methods that limit_except names, and puts steps before them that refuse
// others. It returns the condition that a request has one of these methods.
func (im *importer) exceptMethods(c context, d *directive, t *plan.Target, p *phase) *plan.Cond {
	methods := slices.Clone(d.args)
	if slices.Contains(methods, "GET") && !slices.Contains(methods, "HEAD") {
		methods = append(methods, "HEAD")
	}
	named := among("method", methods)
	for i, step := range p.steps {
		p.steps[i].When = plan.All(named, cmp.Or(step.When, plan.Always))
	}
	_, other := c.byName()
	c.at = c.at.inner(d)
	e := im.entryOf(c)
	steps := im.guards(c, e, plan.Not(named), d, t)
	if !e.refusesAll() && (p.end != nil || other != nil) { // for the other methods nginx looks for a file
		none := d.step(plan.Deny(404))
		none.When = plan.Not(named)
		steps = append(steps, none)
	}
	p.steps = append(steps, p.steps...)
	return named
}

// byName returns the try_files of a location, and the location with a name that it ends with; nil: there is none. Those
// with a name do not lead to others.
func (c context) byName() (d *directive, o *location) {
	if c.at.own("proxy_pass", "grpc_pass") != nil || strings.HasPrefix(c.l.d.arg(0), "@") {
		return nil, nil
	}
	if d = c.at.own("try_files"); d != nil {
		o = c.named[d.arg(len(d.args)-1)]
	}
	return d, o
}

// content leads t to what makes the answers of a location. It returns steps that come after all others.
func (im *importer) content(c context, t *plan.Target) (last []plan.Step) {
	if d := c.at.own("proxy_pass", "grpc_pass"); d != nil {
		return im.proxy(c, d, t)
	}
	if d := c.at.own(noHTTP...); d != nil {
		im.Lose(d.at, d.text(), "backends speak HTTP; such requests are answered 503")
		t.End, t.From = plan.Deny(503), append(t.From, d.at) // a folder of the server may have the script as a file
		return nil
	}
	im.files(c, t, "")
	return nil
}

// responseFields adds the fields that a scope sets in answers. With files, Cache-Control is one of the destination.
func (im *importer) responseFields(at *scope, t *plan.Target, files bool) {
	var fields []plan.Field
	var places []plan.Place
	for _, d := range append(slices.Clip(at.all("add_header")), at.all("proxy_hide_header")...) {
		value, unknown := im.template(context{server: &server{}, at: at}, d.arg(1))
		same := func(f plan.Field) bool { return strings.EqualFold(f.Name, d.arg(0)) }
		switch {
		case files && isCacheControl(d):
			continue
		case unknown != "":
			im.Lose(d.at, d.text(), "fields of answers have no "+unknown)
			continue
		case strings.EqualFold(d.arg(0), "Content-Type"):
			im.Note(d.at, d.text(), "edge says the type of its own answers itself")
			continue
		case value == "" && d.name == "add_header":
			continue
		case slices.ContainsFunc(fields, same):
			im.Lose(d.at, d.text(), "one field of a name can be set")
			continue
		case d.name == "add_header" && d.arg(2) != "always":
			im.Note(d.at, d.text(), "edge sets it in every answer, nginx in 2xx and 3xx alone")
		}
		fields, places = append(fields, plan.Field{Name: d.arg(0), Value: value}), append(places, d.at)
	}
	if len(fields) > 0 {
		do := []plan.Action{plan.ResponseFields(fields...)}
		t.Steps = append(t.Steps, plan.Step{Do: do, What: "add_header", From: places})
	}
}

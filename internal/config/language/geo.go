package language

import (
	"slices"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/match/geo"
	"github.com/edge-proxy/edge/internal/match/table"
)

func (r *reader) geo() (all geo.Databases) {
	e := schema.Only[*geoEntry](r.doc.Entries("geo"))
	r.doc.Fill(e)
	for i, path := range e.Databases {
		at := e.ElementAt("databases", i, len(e.Databases))
		if r.options.Locate != nil {
			path = r.options.Locate(path, at)
		}
		if slices.Contains(e.Databases[:i], path) {
			r.rep.Errorf(at, "", "%s is named twice", syntax.QuotePath(path))
			continue
		}
		e.Databases[i] = path
		all = append(all, r.database(path, e, at))
	}
	r.language.Geo = e.Geo
	if len(e.Databases) == 0 {
		r.language.Geo = Geo{}
	}
	return all
}

// database reads one of the databases. A database that could not be read, or is not opened, is taken to have
// everything: a condition that asks it is no mistake too.
func (r *reader) database(path string, e *geoEntry, at syntax.Span) geo.Database {
	m := r.options.Tables.database(path)
	one := geo.Database{Map: m, Fields: geo.All}
	update, err := r.load(databaseKey(path), m, table.Source{File: path}, e.Refresh)
	if err != nil {
		r.reportTable(err, path, &e.Given, at)
	} else if r.options.Open {
		one.Fields = geo.Fields(update.Stats.Marks)
	}
	return one
}

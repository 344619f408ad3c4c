package explain

import (
	"fmt"

	"github.com/edge-proxy/edge/config"
)

// logOf returns where the request is logged, in which format and in which case.
func logOf(cfg *config.Config, l *config.Listener, r *config.Route) []string {
	log, which := cfg.LogOf(l, r), ""
	if log.When != nil {
		which = ", when " + log.When.String()
	}
	if log.Sample != nil && *log.Sample < 1 {
		which += fmt.Sprintf(", a sample of %v", *log.Sample)
		if log.Always != nil {
			for _, c := range *log.Always {
				which += ", always when " + c.String()
			}
		}
	}
	form := log.Format
	if log.Line != nil {
		form = "lines"
	}
	out := []string{}
	for _, path := range log.Output {
		out = append(out, form+" to "+path+which)
	}
	return out
}

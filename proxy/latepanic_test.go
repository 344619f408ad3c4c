package proxy_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// Where a function panics that a filter left for later, the answer is 500, one panic is counted, and the log names the
// filter.
func TestFilter_panicLater(t *testing.T) {
	panics := func(*proxy.Exchange) proxy.Verdict { panic(errOnPurpose) }
	asks := func(x *proxy.Exchange) proxy.Verdict {
		return proxy.Ask(x, &proxy.Sub{Target: "/sub", Done: func(x *proxy.Exchange, _ *proxy.Sub) proxy.Verdict {
			return panics(x)
		}})
	}
	resumes := func(x *proxy.Exchange) proxy.Verdict {
		x.Ref().ResumeWith(panics)
		return proxy.Park
	}
	for name, f := range map[string]*proxy.Filter{
		"parked":   {Request: resumes},
		"answer":   {Response: resumes},
		"blocking": {Request: resumes, Blocking: proxy.PhaseRequest},
		"asks":     {Request: asks},
	} {
		t.Run(name, func(t *testing.T) {
			logger, log := slog.Default(), &testutil.Output{}
			slog.SetDefault(slog.New(slog.NewTextHandler(log, nil)))
			defer slog.SetDefault(logger)
			f.Name = name
			f.When = func(x *proxy.Exchange) bool { return string(x.Path()) == "/late" }
			next := func(*proxy.Exchange) proxy.Verdict { return proxy.Next }
			r := handlerRig(t, http.NotFoundHandler(), &proxy.Filter{Name: "first", Request: next}, f)
			resp, _ := testutil.Get(t, http.DefaultClient, r.url+"/late")
			if resp.StatusCode != 500 || r.stats().Panics != 1 {
				t.Errorf("%s, %d panics", resp.Status, r.stats().Panics)
			}
			if !strings.Contains(log.String(), "filter="+name+" ") {
				t.Error(log.String())
			}
		})
	}
}

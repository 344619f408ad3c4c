// Command modify passes requests on, and makes YAML of the JSON that comes back: {"ip":"192.0.2.1"} is ip: 192.0.2.1.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/edge-proxy/edge/program"
	"github.com/edge-proxy/edge/proxy"
)

const config = `
[http]
listen = "127.0.0.1:6191"

[[routes]]
pattern = "/*"
dest = "127.0.0.1:3000"
filters = ["yaml"]
`

func main() {
	s := program.New(program.Flags())
	s.Config(config)
	s.Filter("yaml", &proxy.Filter{ResponseBody: toYAML})
	program.Exit(s.Run())
}

// answers are the bodies that are not whole yet.
var answers = proxy.NewLocal[bytes.Buffer]()

func toYAML(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
	b := answers.Of(x)
	if b.Write(in); !end {
		return proxy.Next
	}
	var v struct{ IP string }
	if json.Unmarshal(b.Bytes(), &v) != nil {
		x.Emit(b.Bytes()) // as it came
		return proxy.Next
	}
	x.Emit(fmt.Appendf(nil, "ip: %s\n", v.IP))
	return proxy.Next
}

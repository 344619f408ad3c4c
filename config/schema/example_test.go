package schema_test

import (
	"fmt"

	"github.com/edge-proxy/edge/config/schema"
)

type limits struct {
	schema.Given
	Memory int64
}

func Example() {
	s := schema.New([]*schema.Section{{Doc: "The top of the file.", New: schema.Make[limits], Keys: []*schema.Key{
		{Path: "memory", Type: schema.Size, Default: `"64m"`, Min: "1m", Max: "1t", Doc: "How much may be used.",
			Into: schema.Into(func(e *limits) *int64 { return &e.Memory })},
	}}}, nil, schema.Reserved{})
	for _, text := range []string{"memory = \"2m\"\n", "", "memroy = 1\n"} {
		doc := s.Parse("limits.toml", []byte(text), schema.Options{})
		doc.Resolve(doc.Entries(""))
		if doc.Report.OK() {
			fmt.Println(schema.Only[*limits](doc.Entries("")).Memory)
		} else {
			fmt.Println(&doc.Report.Errors[0])
		}
	}
	// Output:
	// 2097152
	// 67108864
	// limits.toml:1:1: error: unknown key "memroy" at the top level
}

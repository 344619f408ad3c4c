package schema_test

import (
	"fmt"

	"github.com/edge-proxy/edge/internal/config/schema"
)

type limits struct {
	schema.Given
	Memory int64 `edge:"memory" unit:"size" default:"64m" min:"1m" max:"1t" doc:"How much may be used."`
}

func Example() {
	s := schema.New([]*schema.Section{
		schema.Table[limits](nil, schema.Section{Doc: "The top of the file."}),
	}, nil, schema.Reserved{})
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

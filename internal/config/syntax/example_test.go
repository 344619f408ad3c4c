package syntax_test

import (
	"fmt"
	"os"

	"github.com/edge-proxy/edge/internal/config/syntax"
)

func Example() {
	src := syntax.NewSource("edge.toml", []byte("[log]\noutput = [\"/var/log/${NAME}.log\"]\n"), 0)
	rep := &syntax.Report{}
	root, whole := syntax.ParseTree(src, rep)
	syntax.Expand(root, rep, func(name string) (string, bool) { return "edge", true }, "")
	path := root.Child("log").Child("output").Children[0]
	fmt.Println(whole, path.Text, path.Value.Pos())

	rep.Errorf(path.Value, "write /dev/null", "the disk is full")
	rep.Finish("edge.toml", nil)
	_ = rep.Render(os.Stdout)
	// Output:
	// true /var/log/edge.log edge.toml:2:11
	// edge.toml:2:11: error: the disk is full
	//     2 | output = ["/var/log/${NAME}.log"]
	//       |           ^^^^^^^^^^^^^^^^^^^^^^ write /dev/null
}

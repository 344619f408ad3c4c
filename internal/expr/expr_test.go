package expr_test

import (
	"testing"

	"github.com/edge-proxy/edge/internal/expr"
)

func TestText_isCompiledOnce(t *testing.T) {
	const word = expr.Text(`^[a-z]+$`)
	first := word.Regexp()
	if !first.MatchString("edge") || first.MatchString("an edge") {
		t.Errorf("%v matches wrongly", first)
	}
	if word.Regexp() != first || expr.Text(`^[a-z]+$`).Regexp() != first {
		t.Error("it is compiled again")
	}
}

func TestText_panicsWhereItIsNone(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it is compiled")
		}
	}()
	expr.Text(`(`).Regexp()
}

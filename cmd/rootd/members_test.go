package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/rootd/rootd/transport/admin"
)

// Where other machines could not dial a member, nobody gets a token or certificate that says so, but is told what to set.
func TestNoTokenForAnAddressThatNobodyCanDial(t *testing.T) {
	for want, c := range map[string]*cluster{
		"cluster.listen":  nil,
		"cluster.address": {address: "[::]:9995"},
	} {
		s := source{m: &member{cluster: c}}
		_, token := s.CreateToken(t.Context(), admin.TokenRequest{})
		_, operator := s.CreateOperator(t.Context(), admin.OperatorRequest{})
		for what, err := range map[string]error{"token": token, "operator": operator} {
			if e, ok := errors.AsType[*admin.Error](err); !ok || !strings.Contains(e.Hint, want) {
				t.Errorf("%s: %+v, want a hint at %s", what, err, want)
			}
		}
	}
}

package main

import (
	"errors"
	"testing"
)

// TestRotationGoesOn: what is to be done next follows from what members say, wherever it was interrupted.
func TestRotationGoesOn(t *testing.T) {
	r := func(ca, signs, next string, trusts ...string) *caReport {
		return &caReport{CA: ca, Signs: signs, Next: next, Trusts: trusts}
	}
	const a, b, c = "sha256:a", "sha256:b", "sha256:c"
	idle := r(a, a, "", a)
	for _, tc := range []struct {
		name    string
		reports []*caReport
		next    string
		step    caStep
	}{
		{"idle", []*caReport{idle, idle, r(a, "", "", a)}, "", caLook},
		{"only the key is made", []*caReport{r(a, a, b, a), idle, idle}, b, caTrust},
		{"one trusts it", []*caReport{r(a, a, b, a, b), idle, idle}, b, caTrust},
		{"two were begun", []*caReport{r(a, a, c, a, c), r(a, a, b, a, b), idle}, b, caTrust},
		{"all trust it", []*caReport{r(a, a, b, a, b), r(a, a, b, a, b), r(a, "", "", a, b)}, b, caRenew},
		{"one has renewed", []*caReport{r(b, b, b, a, b), r(a, a, b, a, b)}, b, caRenew},
		{"one signs with it and has no certificate of it", []*caReport{r(a, b, b, a, b), r(a, a, b, a, b)}, b, caRenew},
		{"all have renewed", []*caReport{r(b, b, b, a, b), r(b, b, b, a, b), r(b, "", "", a, b)}, b, caForget},
		{"one has forgotten", []*caReport{r(b, b, "", b), r(b, b, b, a, b)}, b, caForget},
		{"one has forgotten all but the key", []*caReport{r(b, b, b, b), r(b, b, "", b)}, b, caForget},
		{"one without a key has not forgotten", []*caReport{r(b, b, "", b), r(b, "", "", a, b)}, b, caForget},
		{"one joined with what was", []*caReport{r(b, b, b, a, b), r(a, a, "", a)}, b, caTrust},
		{"one cannot be asked", []*caReport{r(a, a, b, a, b), nil}, b, caRenew},
		{"done", []*caReport{r(b, b, "", b), r(b, "", "", b)}, "", caLook},
	} {
		v := &caView{reports: tc.reports, errs: []error{errors.New("not asked")}}
		if next := v.next(); next != tc.next || v.phase(next) != tc.step {
			t.Errorf("%s: step %q towards %q, want %q towards %q", tc.name, v.phase(next), next, tc.step, tc.next)
		}
	}
}

package main_test

import (
	"slices"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// explained asks all members about a peer: they say the same, of all three members, and count what they decided.
func (f *fleet) explained(_ *vl1.World, known *device) {
	ctx := longDeadline(f.T)
	for i := range f.members {
		x, err := f.admin(i).Explain(ctx, known.id.Address.String(), "")
		if err != nil {
			f.Fatal(err)
		}
		if len(x.Families) != 1 || len(x.Families[0].Costs) != 3 || x.Families[0].Reason == "" || x.Steering != "on" {
			f.Errorf("member %d explains %+v", i+1, x)
		}
		if x, err = f.admin(i).Explain(ctx, "203.0.113.7", "m1"); err != nil || x.Families[0].Member != "m1" {
			f.Errorf("member %d explains an IP: %+v, %v", i+1, x, err)
		}
		s, err := f.admin(i).SteeringStats(ctx)
		if err != nil || len(s.Members) != 3 || slices.ContainsFunc(s.Members, func(d admin.SteeringDecisions) bool { return d.Error != "" }) {
			f.Errorf("member %d counts %+v, %v", i+1, s, err)
		}
		if r, err := f.admin(i).RoundTrips(ctx, admin.RTTFilter{}); err != nil || r.Total < len(r.Rows) {
			f.Errorf("member %d lists round trips %+v, %v", i+1, r, err)
		}
	}
	for _, who := range []string{"nobody", "00000000ee"} {
		if x, err := f.admin(0).Explain(ctx, who, ""); err == nil {
			f.Errorf("explained %q: %+v", who, x)
		}
	}
}

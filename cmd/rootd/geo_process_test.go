package main_test

import (
	"net/netip"

	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

// located says where the peers are, in the cluster's settings: all members know it, and the log has it of a peer that was
// there already.
func (f *fleet) located(_ *vl1.World, known *device) {
	ctx := longDeadline(f.T)
	known.hello(f.T)
	eventually(f.T, "the peer is attached", func() bool {
		x, err := f.admin(0).Explain(ctx, known.id.Address.String(), "")
		return err == nil && len(x.Families) == 1 && x.Families[0].Member != ""
	})
	if _, err := f.admin(1).SetSetting(ctx, "geo/127.0.0.0/8", "52.37,4.89 Amsterdam, NL"); err != nil {
		f.Fatal(err)
	}
	ip := netip.MustParseAddr("127.0.0.9")
	for i := range f.members {
		eventually(f.T, "the places of the settings are known", func() bool {
			p, err := f.admin(i).GeoLookup(ctx, ip, "m1")
			return err == nil && p.Position == "52.37,4.89" && p.City == "Amsterdam" && p.Source == "settings" && p.Member == "m1"
		})
		eventually(f.T, "the log has the peer's position", func() bool {
			x, err := f.admin(i).Explain(ctx, known.id.Address.String(), "")
			return err == nil && len(x.Families) == 1 && x.Families[0].Position == "52.37,4.89"
		})
	}
	eventually(f.T, "the members are where their endpoints are", func() bool {
		s, err := f.admin(0).GeoStatus(ctx)
		if err != nil || s.Settings != 1 || s.Differ || len(s.Members) != 3 {
			return false
		}
		for _, m := range s.Members {
			if m.Position != "52.37,4.89" || m.Hash != "" {
				return false
			}
		}
		return true
	})
	all, err := f.admin(2).Settings(ctx)
	if err != nil {
		f.Fatal(err)
	}
	if !hasSetting(all, "geo/127.0.0.0/8") {
		f.Error("the place is not in the list of settings")
	}
	if _, err := f.admin(1).SetSetting(ctx, "geo/127.0.0.0/8", ""); err != nil {
		f.Fatal(err)
	}
	if all, err = f.admin(1).Settings(ctx); err != nil || hasSetting(all, "geo/127.0.0.0/8") {
		f.Errorf("the place is still there: %v", err)
	}
	if _, err := f.admin(1).SetSetting(ctx, "geo/127.0.0.1/8", "1,1"); err == nil {
		f.Error("a prefix with bits beyond its length was taken")
	}

	// Settings change together or not at all, and the log remembers who changed them.
	set := []admin.SettingValue{{Key: "voters", Value: "3"}, {Key: "rescue_rate", Value: "many"}}
	if c, err := f.admin(1).ChangeSettings(ctx, set); err == nil {
		f.Errorf("taken: %+v", c)
	}
	set[1].Value = "100"
	for _, want := range []int{2, 0} {
		if c, err := f.admin(1).ChangeSettings(ctx, set); err != nil || len(c) != want {
			f.Errorf("%+v, %v; expected %d changes", c, err, want)
		}
	}
	h, err := f.admin(1).SettingsHistory(ctx)
	if n := len(h); err != nil || n < 4 || h[n-1].Key != "voters" || h[n-1].New != "3" || h[n-1].By != "m2" || h[n-1].Time.IsZero() {
		f.Errorf("history %+v, %v", h, err)
	}
	for i := range set {
		set[i].Value = ""
	}
	if c, err := f.admin(1).ChangeSettings(ctx, set); err != nil || len(c) != 2 {
		f.Errorf("back to the defaults: %+v, %v", c, err)
	}
}

func hasSetting(all []admin.Setting, key string) bool {
	for _, s := range all {
		if s.Key == key {
			return true
		}
	}
	return false
}

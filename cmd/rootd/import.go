package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/admin"
)

var _ admin.Importer = source{}

// ImportPeers implements [admin.Importer]: one entry of the log makes the peers known, attached to nobody.
func (s source) ImportPeers(ctx context.Context, ids []vl1.Identity) (*admin.Imported, error) {
	m := s.m
	epoch := m.sightings.epoch.Load()
	if epoch == 0 {
		return nil, fmt.Errorf("%w: this member is not up yet", admin.ErrUnavailable)
	}
	st := m.fsm.View().State()
	var r admin.Imported
	cs := make(fsm.Changes, 0, len(ids))
	var rec table.Record
	for i := range ids {
		switch id := &ids[i]; {
		case id.Address == m.dir.Identity.Address:
			r.Collisions = append(r.Collisions, id.Address)
		case !st.Peer(id.Address, &rec):
			cs = append(cs, fsm.Change{Address: id.Address, Key: id.Key, HasKey: true, Member: m.id, Epoch: uint16(epoch)})
		case rec.Key == id.Key:
			r.Known++
		default:
			r.Collisions = append(r.Collisions, id.Address)
		}
	}
	if free := st.Settings.MaxPeers - st.Peers; len(cs) > free {
		return nil, fmt.Errorf("%w: %d peers more than the setting max_peers allows (rootctl config set max_peers)", admin.ErrRefused, len(cs)-free)
	}
	for chunk := range slices.Chunk(cs, fsm.MaxChanges) {
		if _, err := m.propose(ctx, chunk); errors.Is(err, errRefused) {
			return nil, fmt.Errorf("%w: %w", admin.ErrRefused, err)
		} else if err != nil {
			return nil, fmt.Errorf("%w: %w", admin.ErrUnavailable, err)
		}
	}
	r.Created = len(cs)
	return &r, nil
}

//go:build linux

package postgres

import (
	"tamada/internal/cluster"
)

// RoleSettings is what an instance has in one role instead of the settings of
// the same names (reference configuration.md 1.5).
type RoleSettings struct {
	Parameters     *cluster.Object
	PgHBA, PgIdent []string
}

// overlay replaces what is different in a role; s must be a copy.
func (s *Settings) overlay(role cluster.Role) {
	if o, ok := s.ByRole[RoleClass(role)]; ok {
		s.Parameters, s.PgHBA, s.PgIdent = o.Parameters, o.PgHBA, o.PgIdent
	}
}

// RoleClass is the role by which role-specific settings are chosen.
func RoleClass(role cluster.Role) cluster.Role {
	switch role {
	case cluster.RolePromoted:
		return cluster.RolePrimary
	case cluster.RoleDemoted:
		return cluster.RoleReplica
	}
	return role
}

// RoleMatters tells whether the two roles have different settings, so that a
// change from one to the other needs a [Instance.Reload].
func (p *Instance) RoleMatters(before, after cluster.Role) bool {
	s := p.Settings()
	b, a := RoleClass(before), RoleClass(after)
	if a == b {
		return false
	}
	_, one := s.ByRole[b]
	_, other := s.ByRole[a]
	return one || other
}

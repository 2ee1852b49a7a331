package config

// translate brings old spellings into today's (reference configuration.md
// 1.4 step 5).
func (d *Document) translate() {
	pg := d.Root.Object("postgresql")
	if v, ok := pg.Get("name"); ok && d.Root.Value("name") == nil {
		d.set("name", v, d.Pos("postgresql.name"))
	}
	if pg == nil {
		return
	}
	pg.Delete("name")
	_, modern := pg.Get("authentication")
	old := map[string]string{"replication": "replication", "superuser": "superuser", "pg_rewind": "superuser"}
	for _, name := range []string{"superuser", "replication", "pg_rewind"} {
		o := pg.Object(name)
		if modern || o == nil {
			continue
		}
		to := "postgresql.authentication." + old[name]
		if _, there := d.value(to); !there {
			d.set(to, o.Clone(), d.Pos("postgresql."+name))
			d.movePositions("postgresql."+name, to)
		}
		if _, there := pg.Get("use_pg_rewind"); name == "pg_rewind" && !there {
			d.set("postgresql.use_pg_rewind", true, d.Pos("postgresql.pg_rewind"))
		}
		pg.Delete(name)
	}
}

// movePositions lets the values below a path that was moved keep their places.
func (d *Document) movePositions(from, to string) {
	for name := range d.Root.Object("postgresql").Object(from[len("postgresql."):]).All() {
		d.pos[join(to, name)] = d.Pos(join(from, name))
	}
}

# The user of edge.
getent group edge >/dev/null || groupadd --system edge
getent passwd edge >/dev/null || useradd --system --gid edge --home-dir /nonexistent --no-create-home \
	--shell /usr/sbin/nologin --comment "edge, an HTTP proxy" edge

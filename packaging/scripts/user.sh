# The user of edge and the folders that only it and root read. Packages run it after the files are in place.
getent group edge >/dev/null || groupadd --system edge
getent passwd edge >/dev/null || useradd --system --gid edge --home-dir /nonexistent --no-create-home \
	--shell /usr/sbin/nologin --comment "edge, an HTTP proxy" edge
for folder in /var/lib/edge /var/log/edge; do
	install -d -o edge -g edge -m 750 "$folder"
done
chgrp edge /etc/edge /etc/edge/tls
chmod 750 /etc/edge /etc/edge/tls
if [ -f /etc/edge/edge.toml ]; then
	chgrp edge /etc/edge/edge.toml
	chmod 640 /etc/edge/edge.toml
fi

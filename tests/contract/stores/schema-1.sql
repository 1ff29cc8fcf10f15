BEGIN;
CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_unix_ns INTEGER NOT NULL);
CREATE TABLE containers (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            created_unix_ns INTEGER NOT NULL,
            status TEXT NOT NULL,
            document BLOB NOT NULL
        );
CREATE TABLE images (
            name TEXT PRIMARY KEY,
            id TEXT NOT NULL,
            created_unix_ns INTEGER NOT NULL,
            document BLOB NOT NULL
        );
CREATE INDEX images_by_id ON images (id);
INSERT INTO migrations VALUES ('first-schema', 1796007150381339800);
INSERT INTO containers VALUES ('d627bea65901c3d3963f633d7970ac16f4469d484dfdaec9563447ecae88f0e5', 'done', 1796007151643201626, 'stopped', CAST('{"id":"d627bea65901c3d3963f633d7970ac16f4469d484dfdaec9563447ecae88f0e5","name":"done","created_unix_ns":1796007151643201626,"spec":{"image":"app","image_id":"sha256:5358615649d9cc8c72a9a1859a2c4132fd04ec70baedc53c277c495e31e8cb23","layers":["/srv/bento/layers/b10068739dce2a168b9095686e6010ee1c548d0c4d4895f88e966b7858998579"],"command":["true"],"sandbox":{},"stop_rules":{},"restart":{},"log_driver":"k8s-file","runtime":"/usr/bin/crun"},"status":"stopped","run":{"number":1,"runtime":"/usr/bin/crun","shows_processes":true,"init":null,"monitor":null,"cgroups":{},"connection":null,"started_unix_ns":1796007151763426283,"started_boot_s":12394.659310987},"exit":{"code":0,"finished_unix_ns":1796007152494233101,"oom_killed":false,"is_released":true,"note":""},"restarts":0,"restart_boot_s":null,"restart_streak":0,"stop_asked":false,"shut_down":false,"intent":null,"report":null,"notes":[]}' AS BLOB));
INSERT INTO images VALUES ('app', 'sha256:5358615649d9cc8c72a9a1859a2c4132fd04ec70baedc53c277c495e31e8cb23', 1796007150355399419, CAST('{"id":"sha256:5358615649d9cc8c72a9a1859a2c4132fd04ec70baedc53c277c495e31e8cb23","name":"app","layers":["/srv/bento/layers/b10068739dce2a168b9095686e6010ee1c548d0c4d4895f88e966b7858998579"],"config":{},"created_unix_ns":1796007150355399419,"size_bytes":1982256}' AS BLOB));
PRAGMA application_id = 1650814580;
PRAGMA user_version = 1;
COMMIT;

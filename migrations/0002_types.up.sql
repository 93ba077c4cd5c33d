-- The catalogue. app_id 0 holds the shipped types, which every app has unless
-- it has a row of its own with that name. New objects only.
CREATE TABLE types (
  app_id         bigint NOT NULL,
  name           text NOT NULL CHECK (name ~ '^[a-z][a-z0-9._-]{0,99}$'),
  lane           text NOT NULL CHECK (lane IN ('payment', 'otp', 'social', 'marketing')),
  exchange       text NOT NULL,
  routing_key    text NOT NULL CHECK (starts_with(routing_key, lane || '.') AND length(routing_key) <= 100),
  channels       text[] NOT NULL CHECK (cardinality(channels) > 0),
  retention_days smallint NOT NULL CHECK (retention_days IN (1, 7, 30, 365)),
  critical       boolean NOT NULL,
  ttl            interval CHECK (ttl > interval '0'),
  -- Mustache templates by field name: title, body, actor_name, ...
  in_app         jsonb NOT NULL,
  updated_at     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (app_id, name),
  CHECK (exchange = CASE WHEN lane IN ('payment', 'marketing') THEN 'carillon.topic' ELSE 'carillon.direct' END)
);

-- One row; every change of types moves it on, so that processes poll one value.
CREATE TABLE catalogue_version (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  version  bigint NOT NULL
);
INSERT INTO catalogue_version (version) VALUES (1);

INSERT INTO types (app_id, name, lane, exchange, routing_key, channels, retention_days, critical, ttl, in_app)
VALUES
  (0, 'follow', 'social', 'carillon.direct', 'social.follow', '{in_app}', 7, false, NULL,
   '{"title": "{{data.actor_name}} follows you", "actor_name": "{{data.actor_name}}", "actor_picture_url": "{{data.actor_picture_url}}", "action_link": "/users/{{actor_id}}", "badge": "follow"}'),
  (0, 'like', 'social', 'carillon.direct', 'social.like', '{in_app}', 7, false, NULL,
   '{"title": "{{data.actor_name}} liked your post", "body": "{{data.excerpt}}", "actor_name": "{{data.actor_name}}", "actor_picture_url": "{{data.actor_picture_url}}", "image_url": "{{data.image_url}}", "action_link": "/posts/{{object_id}}", "badge": "like"}'),
  (0, 'comment', 'social', 'carillon.direct', 'social.comment', '{in_app}', 7, false, NULL,
   '{"title": "{{data.actor_name}} commented on your post", "body": "{{data.text}}", "actor_name": "{{data.actor_name}}", "actor_picture_url": "{{data.actor_picture_url}}", "action_link": "/posts/{{object_id}}", "badge": "comment"}'),
  (0, 'chat.message', 'social', 'carillon.direct', 'social.chat', '{in_app}', 7, false, NULL,
   '{"title": "{{data.actor_name}}", "body": "{{data.text}}", "actor_name": "{{data.actor_name}}", "actor_picture_url": "{{data.actor_picture_url}}", "action_link": "/chats/{{object_id}}", "badge": "chat"}'),
  (0, 'stream.start', 'social', 'carillon.direct', 'social.stream', '{in_app}', 7, false, NULL,
   '{"title": "{{data.actor_name}} is live", "body": "{{data.title}}", "actor_name": "{{data.actor_name}}", "actor_picture_url": "{{data.actor_picture_url}}", "image_url": "{{data.image_url}}", "action_link": "/live/{{object_id}}", "badge": "live"}'),
  (0, 'otp.login', 'otp', 'carillon.direct', 'otp.login', '{in_app}', 7, true, interval '10 minutes',
   '{"title": "Your login code", "body": "{{data.code}}", "badge": "security"}'),
  (0, 'otp.password_reset', 'otp', 'carillon.direct', 'otp.password_reset', '{in_app}', 7, true, interval '10 minutes',
   '{"title": "Your code to reset the password", "body": "{{data.code}}", "badge": "security"}'),
  (0, 'payment.receipt', 'payment', 'carillon.topic', 'payment.receipt', '{in_app}', 7, true, NULL,
   '{"title": "Payment received", "body": "{{data.amount}} {{data.currency}}", "action_link": "/payments/{{object_id}}", "badge": "payment"}'),
  (0, 'payment.failed', 'payment', 'carillon.topic', 'payment.failed', '{in_app}', 7, true, NULL,
   '{"title": "Payment failed", "body": "{{data.amount}} {{data.currency}}", "action_link": "/payments/{{object_id}}", "badge": "payment"}'),
  (0, 'marketing.discount', 'marketing', 'carillon.topic', 'marketing.discount', '{in_app}', 7, false, NULL,
   '{"title": "{{data.title}}", "body": "{{data.text}}", "image_url": "{{data.image_url}}", "action_link": "{{data.link}}", "badge": "offer"}'),
  (0, 'marketing.digest', 'marketing', 'carillon.topic', 'marketing.digest', '{in_app}', 7, false, NULL,
   '{"title": "{{data.title}}", "body": "{{data.text}}", "action_link": "{{data.link}}", "badge": "digest"}');

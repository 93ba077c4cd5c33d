-- The words of a digest by e-mail, SMS and push, for every app that has none of its own.
-- Rows only.
--
-- data.count: how much happened; data.items: what, a list of title, body and link, empty
-- where there is none; data.more, if data.more_any: how much is not in the list; data.link:
-- where all is shown. Who sends a digest of his own gives data.title and data.text instead.

-- A field of a protobuf message that holds bytes: number 1 to 15, below 16 KiB.
CREATE FUNCTION pg_temp.field(number int, content bytea) RETURNS bytea LANGUAGE sql AS $$
  SELECT set_byte('\x00'::bytea, 0, number * 8 + 2)
         || CASE WHEN length(content) < 128 THEN set_byte('\x00'::bytea, 0, length(content))
            ELSE set_byte(set_byte('\x0000'::bytea, 0, length(content) % 128 + 128), 1, length(content) / 128) END
         || content
$$;
CREATE FUNCTION pg_temp.field(number int, content text) RETURNS bytea LANGUAGE sql AS $$
  SELECT pg_temp.field(number, convert_to(content, 'UTF8'))
$$;

CREATE TEMP TABLE digest_words ON COMMIT DROP AS
SELECT * FROM (VALUES
  ('', 'New for you', '{{data.more}} more', 'Show all', 'Unsubscribe'),
  ('en', 'New for you', '{{data.more}} more', 'Show all', 'Unsubscribe'),
  ('de', 'Neu für dich', '{{data.more}} weitere', 'Alles ansehen', 'Abbestellen'),
  ('es', 'Novedades', '{{data.more}} más', 'Ver todo', 'Darse de baja')
) AS words (locale, heading, more, show, unsubscribe);

-- carillon.v1.Template: email is 7; its subject 1, text 2, html 3.
INSERT INTO templates (app_id, version, active, type, channel, locale, content)
SELECT 0, 1, true, 'marketing.digest', 'email', locale,
       pg_temp.field(7,
         pg_temp.field(1, '{{#data.count}}' || heading || ': {{data.count}}{{/data.count}}{{^data.count}}{{data.title}}{{/data.count}}')
         || pg_temp.field(2, $text${{#data.count}}
$text$ || heading || $text$: {{data.count}}
{{/data.count}}
{{^data.count}}
{{data.title}}
{{#data.text}}

{{data.text}}
{{/data.text}}
{{/data.count}}
{{#data.items}}

- {{title}}
{{#body}}
  {{body}}
{{/body}}
{{#link}}
  {{link}}
{{/link}}
{{/data.items}}
{{#data.more_any}}

+ $text$ || more || $text$
{{/data.more_any}}
{{#data.link}}

$text$ || show || $text$: {{data.link}}
{{/data.link}}
{{#unsubscribe_url}}

-- 
$text$ || unsubscribe || $text$: {{unsubscribe_url}}
{{/unsubscribe_url}}
$text$)
         || pg_temp.field(3, $html$<!DOCTYPE html>
<html lang="$html$ || CASE locale WHEN '' THEN 'en' ELSE locale END || $html$">
<body style="font-family: sans-serif">
{{#data.count}}
<h1 style="font-size: 1.3em">$html$ || heading || $html$: {{data.count}}</h1>
{{/data.count}}
{{^data.count}}
<h1 style="font-size: 1.3em">{{data.title}}</h1>
{{#data.text}}
<p>{{data.text}}</p>
{{/data.text}}
{{/data.count}}
<ul>
{{#data.items}}
<li>
{{#link}}
<a href="{{link}}">{{title}}</a>
{{/link}}
{{^link}}
{{title}}
{{/link}}
{{#body}}
<br>{{body}}
{{/body}}
</li>
{{/data.items}}
{{#data.more_any}}
<li>+ $html$ || more || $html$</li>
{{/data.more_any}}
</ul>
{{#data.link}}
<p><a href="{{data.link}}">$html$ || show || $html$</a></p>
{{/data.link}}
{{#unsubscribe_url}}
<p style="font-size: 0.8em"><a href="{{unsubscribe_url}}">$html$ || unsubscribe || $html$</a></p>
{{/unsubscribe_url}}
</body>
</html>
$html$))
FROM digest_words;

-- sms is 8, and its text 1. How much, and where: a list would be several messages.
INSERT INTO templates (app_id, version, active, type, channel, locale, content)
SELECT 0, 1, true, 'marketing.digest', 'sms', locale,
       pg_temp.field(8, pg_temp.field(1,
         '{{#data.count}}' || heading || ': {{data.count}}{{/data.count}}'
         || '{{^data.count}}{{data.title}}{{#data.text}}: {{data.text}}{{/data.text}}{{/data.count}}'
         || '{{#data.link}} {{data.link}}{{/data.link}}'))
FROM digest_words;

-- push is 9; its title 1, body 2, action_link 3.
INSERT INTO templates (app_id, version, active, type, channel, locale, content)
SELECT 0, 1, true, 'marketing.digest', channel, locale,
       pg_temp.field(9,
         pg_temp.field(1, '{{#data.count}}' || heading || ': {{data.count}}{{/data.count}}'
                          || '{{^data.count}}{{#data.text}}{{data.title}}{{/data.text}}{{/data.count}}')
         || pg_temp.field(2, $text${{#data.items}}
{{title}}
{{/data.items}}
{{#data.more_any}}
+ $text$ || more || $text$
{{/data.more_any}}
{{^data.items}}{{#data.text}}{{data.text}}{{/data.text}}{{^data.text}}{{data.title}}{{/data.text}}{{/data.items}}$text$)
         || pg_temp.field(3, '{{#data.link}}{{data.link}}{{/data.link}}'))
FROM digest_words CROSS JOIN (VALUES ('apns'), ('fcm')) AS push (channel);

DROP TABLE digest_words;
DROP FUNCTION pg_temp.field(int, text), pg_temp.field(int, bytea);
UPDATE catalogue_version SET version = version + 1;

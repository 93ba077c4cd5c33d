-- The words of a login code by SMS and of a receipt by e-mail, for every app that
-- has none of its own. Rows only.

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

-- carillon.v1.Template: sms is 8, and its text 1.
INSERT INTO templates (app_id, version, active, type, channel, locale, content)
SELECT 0, 1, true, 'otp.login', 'sms', locale, pg_temp.field(8, pg_temp.field(1, text))
FROM (VALUES
  ('', '{{data.code}} is your login code.'),
  ('en', '{{data.code}} is your login code.'),
  ('de', '{{data.code}} ist dein Anmeldecode.'),
  ('es', '{{data.code}} es tu código de acceso.')
) AS words (locale, text);

-- email is 7; its subject 1, text 2, html 3. data.items: a list of name and price;
-- data.url: where the receipt is shown. Both may be absent.
INSERT INTO templates (app_id, version, active, type, channel, locale, content)
SELECT 0, 1, true, 'payment.receipt', 'email', locale,
       pg_temp.field(7,
         pg_temp.field(1, subject)
         || pg_temp.field(2, greeting || $text$

{{#data.items}}
{{name}}  {{price}}
{{/data.items}}
$text$ || total || $text$: {{data.amount}} {{data.currency}}
{{#data.url}}

{{data.url}}
{{/data.url}}
$text$)
         || pg_temp.field(3, $html$<!DOCTYPE html>
<html lang="$html$ || CASE locale WHEN '' THEN 'en' ELSE locale END || $html$">
<body style="font-family: sans-serif">
<p>$html$ || greeting || $html$</p>
<table>
{{#data.items}}
<tr><td>{{name}}</td><td align="right">{{price}}</td></tr>
{{/data.items}}
<tr><th align="left">$html$ || total || $html$</th><th align="right">{{data.amount}} {{data.currency}}</th></tr>
</table>
{{#data.url}}
<p><a href="{{data.url}}">$html$ || link || $html$</a></p>
{{/data.url}}
</body>
</html>
$html$))
FROM (VALUES
  ('', 'Your receipt: {{data.amount}} {{data.currency}}', 'Thank you. We have received your payment.', 'Total', 'Show the receipt'),
  ('en', 'Your receipt: {{data.amount}} {{data.currency}}', 'Thank you. We have received your payment.', 'Total', 'Show the receipt'),
  ('de', 'Dein Beleg: {{data.amount}} {{data.currency}}', 'Danke. Deine Zahlung ist eingegangen.', 'Summe', 'Beleg ansehen'),
  ('es', 'Tu recibo: {{data.amount}} {{data.currency}}', 'Gracias. Hemos recibido tu pago.', 'Total', 'Ver el recibo')
) AS words (locale, subject, greeting, total, link);

DROP FUNCTION pg_temp.field(int, text), pg_temp.field(int, bytea);
UPDATE catalogue_version SET version = version + 1;

//! `report.html`: what a run did, on one page that needs nothing else.

use std::fmt::Write;

use image::RgbImage;

use super::canvas::png;
use crate::Result;
use crate::escape::acts;

/// A page of sections in the order in which they were added.
///
/// Everything is inside the page (pictures as data URIs), so it can be mailed or archived as it is.
#[derive(Debug, Clone)]
pub struct Report {
    title: String,
    body: String,
    /// Seconds after which the page is read again, as long as what it tells of goes on.
    again: Option<u32>,
}

impl Report {
    /// A page with a heading.
    pub fn new(title: impl Into<String>) -> Self {
        Report { title: title.into(), body: String::new(), again: None }
    }

    /// Has whoever reads the page read it again after so many seconds, at the place where they are: for what is not
    /// over yet.
    #[must_use]
    pub fn read_again(mut self, seconds: u32) -> Self {
        self.again = Some(seconds);
        self
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.add(format_args!("<p>{}</p>\n", escape(text)));
        self
    }

    /// Adds links: what each is called, and where it leads.
    #[must_use]
    pub fn links(mut self, links: &[(String, String)]) -> Self {
        self.body += "<p>";
        for (text, to) in links {
            self.add(format_args!("<a href=\"{}\">{}</a> ", escape(to), escape(text)));
        }
        self.body += "</p>\n";
        self
    }

    /// Adds a box for each option, ticked or not, and a button that asks for the page again, with `name=option` in its
    /// address for each that is ticked.
    #[must_use]
    pub fn choice(mut self, name: &str, options: &[(String, bool)], button: &str) -> Self {
        self.body += "<form class=choice>";
        for (option, ticked) in options {
            let (name, value, ticked) = (escape(name), escape(option), if *ticked { " checked" } else { "" });
            self.add(format_args!(
                "<label><input type=checkbox name=\"{name}\" value=\"{value}\"{ticked}> {value}</label> "
            ));
        }
        self.add(format_args!("<button>{}</button></form>\n", escape(button)));
        self
    }

    /// Starts a section.
    #[must_use]
    pub fn section(mut self, heading: &str) -> Self {
        self.add(format_args!("<h2>{}</h2>\n", escape(heading)));
        self
    }

    /// Adds a table; cells that read as numbers stand to the right.
    #[must_use]
    pub fn table(mut self, header: &[&str], rows: &[Vec<String>]) -> Self {
        self.body += "<div class=wide><table>\n<thead><tr>";
        for (column, cell) in header.iter().enumerate() {
            let numbers = !rows.is_empty() && rows.iter().all(|r| r.get(column).is_some_and(|cell| is_number(cell)));
            self.add(format_args!("<th{}>{}</th>", right(numbers), escape(cell)));
        }
        self.body += "</tr></thead>\n<tbody>\n";
        for row in rows {
            self.body += "<tr>";
            for cell in row {
                self.add(format_args!("<td{}>{}</td>", right(is_number(cell)), escape(cell)));
            }
            self.body += "</tr>\n";
        }
        self.body += "</tbody></table></div>\n";
        self
    }

    /// Adds a picture with a caption; `description` is for readers who cannot see it. Drawn at two pixels to the unit.
    pub fn picture(mut self, image: &RgbImage, description: &str, caption: &str) -> Result<Self> {
        let data = base64(&png(image)?);
        let (width, height) = (image.width().div_ceil(2), image.height().div_ceil(2));
        let description = escape(description);
        self.add(format_args!(
            "<figure><img width={width} height={height} alt=\"{description}\" src=\"data:image/png;base64,{data}\">"
        ));
        if !caption.is_empty() {
            self.add(format_args!("<figcaption>{}</figcaption>", escape(caption)));
        }
        self.body += "</figure>\n";
        Ok(self)
    }

    /// Adds text as it is, line for line: a configuration, a log.
    #[must_use]
    pub fn verbatim(mut self, text: &str) -> Self {
        self.add(format_args!("<pre>{}</pre>\n", escape(text.trim_end())));
        self
    }

    /// The page.
    pub fn html(&self) -> String {
        let title = escape(&self.title);
        // Reloaded by a script a page stays at the reader's place; by the refresh of its head it may not.
        let again = self.again.map_or(String::new(), |seconds| {
            format!(
                "<script>setTimeout(() => location.reload(), {seconds}000)</script>\n\
                 <noscript><meta http-equiv=refresh content={seconds}></noscript>\n"
            )
        });
        format!(
            "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width\">\n\
             {again}<title>{title}</title>\n<style>{STYLE}</style>\n<main>\n<h1>{title}</h1>\n{}</main>\n</html>\n",
            self.body
        )
    }

    fn add(&mut self, text: std::fmt::Arguments) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(text);
    }
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1f242b; --quiet: #5c6570; --rule: #e3e6ea; --paper: #fff; --shade: #f6f7f9 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --quiet: #9aa4af; --rule: #363c44; --paper: #16191d; --shade: #1e2227 } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif }
main { max-width: 800px; margin: 0 auto; padding: 40px 20px 80px }
h1 { font-size: 28px; line-height: 1.2; font-weight: 600; margin: 0 0 16px }
h2 { font-size: 19px; font-weight: 600; margin: 44px 0 12px }
p { max-width: 68ch; margin: 0 0 12px }
figure { margin: 16px 0 }
img { max-width: 100%; height: auto; border-radius: 6px; display: block; background: #fff }
@media (prefers-color-scheme: light) { img { outline: 1px solid var(--rule) } }
figcaption { color: var(--quiet); font-size: 14px; margin-top: 8px }
.wide { overflow-x: auto; margin: 0 0 16px }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th { color: var(--quiet); font-weight: 500; font-size: 14px; text-align: left }
th, td { padding: 6px 28px 6px 0; border-bottom: 1px solid var(--rule) }
th:last-child, td:last-child { padding-right: 0 }
@media (max-width: 500px) { th, td { padding-right: 14px } }
.n { text-align: right }
.choice label, p a { display: inline-block; margin: 0 14px 6px 0 }
a { color: inherit }
pre { background: var(--shade); border-radius: 6px; padding: 14px 16px; overflow-x: auto; font: 13px/1.5 ui-monospace, monospace; margin: 0 }
";

fn right(numbers: bool) -> &'static str {
    if numbers { " class=n" } else { "" }
}

/// A figure, perhaps with a sign, a percent sign or a unit after a space.
fn is_number(cell: &str) -> bool {
    let figure = cell.split_whitespace().next().unwrap_or("").trim_end_matches('%').replace(',', "");
    cell == "\u{2013}" || figure.replace('\u{2212}', "-").parse::<f64>().is_ok()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            c if acts(c) && c != '\n' && c != '\t' => escaped.extend(c.escape_debug()),
            _ => escaped.push(c),
        }
    }
    escaped
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_rfc_4648s() {
        let vectors = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (n, vector) in vectors.iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..n]), *vector);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn nothing_that_is_put_in_becomes_markup() {
        let page = Report::new("<script>alert(1)</script>")
            .text("a < b & \"c\"")
            .section("</main>")
            .table(&["<th>"], &[vec!["<td>".into()]])
            .picture(&RgbImage::new(3, 1), "\" onload=\"x", "<b>")
            .unwrap()
            .verbatim("</pre>")
            .links(&[("<script>".into(), "\" onclick=\"x".into())])
            .choice("\" onload=\"x", &[("\" checked \"<script>".into(), false)], "<script>")
            .html();
        for raw in [
            "<script>",
            "href=\"\"",
            "value=\"\"",
            "a < b",
            "</main></h2>",
            "<th>\n",
            "<b>",
            "</pre></pre>",
            "onload=\"x",
        ] {
            assert!(!page.contains(raw), "{raw} in {page}");
        }
        assert!(page.contains("&quot; onload=&quot;x") && page.contains("<img width=2 height=1"));
        assert!(!page.contains("http"), "the page needs nothing from elsewhere");
    }

    #[test]
    fn a_page_is_read_again_as_long_as_there_is_more_to_come() {
        let page = Report::new("run");
        assert!(!page.html().contains("reload") && !page.html().contains("refresh"));
        let page = page.read_again(30).html();
        assert!(page.contains("setTimeout(() => location.reload(), 30000)"), "{page}");
        assert!(page.contains("<noscript><meta http-equiv=refresh content=30></noscript>"), "{page}");
    }

    #[test]
    fn what_is_ticked_stays_so() {
        let options = [("a".into(), true), ("b/c".into(), false)];
        let page = Report::new("runs").choice("run", &options, "Show").links(&[("report".into(), "/x?run=a".into())]);
        let page = page.html();
        assert!(page.contains("<input type=checkbox name=\"run\" value=\"a\" checked>"), "{page}");
        assert!(page.contains("<input type=checkbox name=\"run\" value=\"b/c\">"), "{page}");
        assert!(page.contains("<a href=\"/x?run=a\">report</a>"), "{page}");
    }

    #[test]
    fn figures_stand_to_the_right() {
        for cell in ["1", "-0.5", "\u{2212}2e-3", "98.5%", "1,500", "12.5 s", "\u{2013}"] {
            assert!(is_number(cell), "{cell}");
        }
        for cell in ["", "KID", "a 1"] {
            assert!(!is_number(cell), "{cell}");
        }
    }
}

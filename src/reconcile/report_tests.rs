use super::*;
use crate::formats::value::Day;
use crate::reconcile::columns::Value;

fn read(text: &str) -> anyhow::Result<Report> {
    Report::read(text.as_bytes(), &[], None)
}

fn refused(text: &str) -> String {
    format!("{:#}", read(text).unwrap_err())
}

/// Each group as its values, and the sums of the measures that the report has.
fn shown(report: &Report) -> Vec<String> {
    let groups = report.groups.iter().map(|(group, sum)| {
        let values = group.iter().map(Value::to_string);
        let amounts = report
            .measures
            .iter()
            .map(|one| sum.amounts.get(*one).to_string());
        values.chain(amounts).collect::<Vec<_>>().join(" ")
    });
    groups.collect()
}

#[test]
fn the_names_of_the_api_and_of_the_pages() {
    let api = "Stat.date,Stat.offer_id,Stat.affiliate_id,Stat.goal_id,Stat.currency,Offer.name,Stat.gross_clicks,Stat.clicks,\
               Stat.conversions,Stat.payout,Stat.revenue,Stat.sale_amount,Stat.ctr\n\
               2026-11-03,7,8,0,EUR,\"Shoes, red\",12,9,2,3.5,5,0,0.1\n";
    let report = read(api).unwrap();
    assert_eq!(shown(&report), ["2026-11-03 7 8 0 EUR 12 2 3.5 5 0"]);
    assert_eq!(report.unused, ["Offer.name", "Stat.clicks", "Stat.ctr"]);
    assert!(!report.clicks_may_be_unique);

    let pages = "\u{feff}Partner ID;Offer ID;Date;Clicks;Cost;Profit\r\n8;7;2026-11-03;1.234;\"1.234,50 €\";1\r\n\r\n;;;;;\r\n";
    let report = read(pages).unwrap();
    assert_eq!(shown(&report), ["2026-11-03 7 8 1234 1234.5"]);
    assert_eq!(report.unused, ["Profit"]);
    assert!(report.clicks_may_be_unique);

    let tabs = "currency\tconversions\n\t3\nUSD\t(4)\n";
    assert_eq!(shown(&read(tabs).unwrap()), ["- 3", "USD -4"]);
}

#[test]
fn rows_of_one_group_are_added_up() {
    let report =
        read("Date,Country,Payout\n2026-11-03,DE,0.1\n2026-11-03,FR,0.2\n2026-11-04,FR,1\n")
            .unwrap();
    assert_eq!(shown(&report), ["2026-11-03 0.3", "2026-11-04 1"]);
    assert_eq!(report.rows, 3);
    let day = Value::Day(Day::parse("2026-11-04").unwrap());
    assert_eq!(report.groups[&vec![day]].line, 4);
}

#[test]
fn a_row_of_totals_is_left_out() {
    for last in [
        "Total,,3.5",
        "TOTALS:,,3.5",
        ",,3.5",
        "2026-11-03,Grand Total,3.5",
    ] {
        let report = read(&format!("Date,Offer ID,Payout\n2026-11-03,7,3.5\n{last}\n")).unwrap();
        assert_eq!(shown(&report), ["2026-11-03 7 3.5"], "{last}");
        assert_eq!(
            report.total.unwrap().get(Measure::Payout),
            Amount::parse("3.5").unwrap()
        );
    }
    // An offer may have that name.
    let report = read("Date,Offer ID,Offer,Payout\n2026-11-03,7,Total,3.5\n").unwrap();
    assert_eq!((shown(&report).len(), report.total), (1, None));
    // Without a day, a blank id is an id.
    let report = read("Offer ID,Payout\n7,3.5\n,1\n").unwrap();
    assert_eq!(shown(&report), ["0 1", "7 3.5"]);
}

#[test]
fn one_cell_tells_the_decimal_mark_of_all() {
    let report = read("Date,Payout,Revenue\n2026-11-03,\"1,234\",0\n2026-11-04,2,12.50\n").unwrap();
    assert_eq!(shown(&report), ["2026-11-03 1234 0", "2026-11-04 2 12.5"]);
    let text = "Date,Payout\n2026-11-03,\"1,234\"\n";
    let by = |mark| shown(&Report::read(text.as_bytes(), &[], Some(mark)).unwrap());
    assert_eq!(by(DecimalMark::Point), ["2026-11-03 1234"]);
    assert_eq!(by(DecimalMark::Comma), ["2026-11-03 1.234"]);
}

#[test]
fn a_column_can_be_named_or_left_out() {
    let text = "Day,Spent,Payout\n2026-11-03,1,2\n";
    let named = |name: &str| Column {
        field: Field::Measure(Measure::Payout),
        name: name.to_owned(),
    };
    let with = |columns: &[Column]| Report::read(text.as_bytes(), columns, None);
    assert_eq!(shown(&with(&[named("Spent")]).unwrap()), ["2026-11-03 1"]);
    let error = with(&[named("spent")]).unwrap_err().to_string();
    assert_eq!(
        error,
        r#"it has no column "spent": it has "Day", "Spent", "Payout""#
    );
    assert!(
        with(&[named("")])
            .unwrap_err()
            .to_string()
            .contains("none of its columns is known")
    );
    let twice = Column {
        field: Field::Measure(Measure::Revenue),
        name: "Payout".to_owned(),
    };
    let error = with(&[twice]).unwrap_err().to_string();
    assert_eq!(
        error,
        r#"column "Payout" cannot be both payout and revenue"#
    );
}

#[test]
fn what_is_not_certain_is_refused_with_its_place() {
    for (text, sentence) in [
        ("", "it is empty"),
        ("Date,Payout\n", "it has no rows below its first line"),
        (
            "Date,Payout\n2026-11-03,1\n11/04/2026,2\n2026-11-05,1\n",
            r#"line 3, column "Date": "11/04/2026": a day such as 2026-11-03 is expected"#,
        ),
        (
            "Offer ID,Payout\n\"1,234\",1\n",
            r#"line 2, column "Offer ID": "1,234": a whole number is expected"#,
        ),
        (
            "Date,Payout\n2026-11-03,\"1,234\"\n",
            r#"line 2, column "Payout": "1,234": it could have decimals or thousands, and no other cell tells"#,
        ),
        (
            "Date,Payout\n2026-11-03,1.50\n2026-11-04,\"2,50\"\n",
            r#"its decimal mark is a point in line 2, column "Payout": "1.50", and a comma in line 3, column "Payout": "2,50""#,
        ),
        (
            "Date,Payout\n2026-11-03,12%\n",
            r#"line 2, column "Payout": "12%": it is no number"#,
        ),
        (
            "Date,Payout\n2026-11-03\n",
            "line 2 has 1 cells where the first line has 2",
        ),
        (
            "Date,Payout,Cost,PAYOUT\n2026-11-03,1,2,3\n",
            r#"columns "Payout" and "PAYOUT" could both be payout: name one with --column payout=…"#,
        ),
        (
            "Date,Profit\n2026-11-03,1\n",
            r#"none of its columns is known to be one of impressions, clicks, conversions, payout, revenue, sale_amount: it has "Date", "Profit""#,
        ),
    ] {
        let said = refused(text);
        assert!(said.contains(sentence), "{said}\n{sentence}");
    }
    let said = format!(
        "{:#}",
        Report::read(b"Date,Payout\n\xff,1\n", &[], None).unwrap_err()
    );
    assert!(said.contains("not UTF-8"), "{said}");
}

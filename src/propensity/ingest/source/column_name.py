"""Usual names of columns in ten languages, for the draft of a mapping."""

from __future__ import annotations

import re

from propensity.ingest.rule.product import plain_letters

NAMES = {
    "customer": "kunde kundennummer kundennr kunden_id kundenid kartennummer kundenkarte client client_id id_client"
    " numero_client code_client acheteur carte_fidelite cliente id_cliente cliente_id codigo_cliente"
    " num_cliente tarjeta comprador codice_cliente tessera klant klantnummer klant_id klantnr klantenkaart"
    " klient id_klienta nr_klienta numer_klienta kontrahent zakaznik id_zakaznika cislo_zakaznika"
    " zakaznicke_cislo musteri musteri_no musteri_id musteri_kodu uye email e_mail customer_email"
    " email_address mail",
    "day": "datum bestelldatum rechnungsdatum kaufdatum belegdatum verkaufsdatum zeitpunkt date_commande"
    " date_achat date_vente date_facture jour fecha fecha_compra fecha_pedido fecha_venta data data_ordine"
    " data_acquisto data_vendita besteldatum aankoopdatum factuurdatum data_zakupu data_zamowienia"
    " data_sprzedazy datum_objednavky datum_nakupu datum_prodeje data_compra data_pedido data_venda tarih"
    " siparis_tarihi fatura_tarihi satis_tarihi islem_tarihi",
    "item": "artikel artikelnummer artikelnr artikel_id produkt produktnummer produkt_id article code_article"
    " reference ref_article produit code_produit id_produit articulo codigo_articulo producto"
    " codigo_producto id_producto articolo codice_articolo prodotto codice_prodotto product_id"
    " productnummer artikelcode produktu towar kod_towaru kod_produktu id_produktu indeks zbozi vyrobek"
    " kod_zbozi cislo_zbozi produto codigo_produto id_produto artigo urun urun_kodu urun_id stok_kodu",
    "quantity": "menge anzahl stueck stuck stuckzahl quantite qte nombre_articles cantidad unidades cant quantita qta"
    " pezzi aantal hoeveelheid stuks ilosc sztuk szt liczba mnozstvi kusu kusy pocet quantidade qtd qtde"
    " unidades miktar adet",
    "revenue": "umsatz betrag gesamtpreis gesamtbetrag summe zeilensumme preis einzelpreis stuckpreis verkaufspreis"
    " montant montant_ttc prix prix_total prix_unitaire total_ligne chiffre_affaires importe importe_total"
    " precio precio_total precio_unitario total_linea importo prezzo prezzo_totale prezzo_unitario"
    " totale_riga bedrag omzet prijs totaalprijs stukprijs regeltotaal kwota cena wartosc cena_jednostkowa"
    " wartosc_sprzedazy castka trzba cena_celkem jednotkova_cena valor valor_total preco preco_total"
    " preco_unitario tutar fiyat birim_fiyat toplam toplam_tutar satis_tutari ciro",
    "channel": "kanal filiale vertriebskanal laden magasin canal boutique tienda canale negozio kanaal winkel sklep"
    " prodejna loja magaza sube",
    "order": "bestellung bestellnummer bestellnr bestell_id auftrag auftragsnummer rechnungsnummer rechnungsnr"
    " beleg belegnummer bon bonnummer kassenbon commande numero_commande no_commande id_commande facture"
    " numero_facture ticket numero_ticket pedido numero_pedido id_pedido num_pedido factura ordine"
    " numero_ordine id_ordine scontrino fattura bestelnummer bestelling factuurnummer bonnummer kassabon"
    " zamowienie nr_zamowienia numer_zamowienia paragon nr_paragonu faktura nr_faktury objednavka"
    " cislo_objednavky uctenka cislo_uctenky encomenda nota_fiscal siparis siparis_no fis_no fatura_no",
    "kind": "art typ vorgang vorgangsart type_operation tipo tipo_operacion typ_operacji typ_dokladu islem_turu",
    "discount": "rabatt nachlass remise reduction descuento sconto korting rabat znizka sleva desconto indirim"
    " indirim_tutari",
    "currency": "waehrung wahrung devise monnaie moneda divisa valuta waluta mena moeda para_birimi doviz",
    "description": "bezeichnung artikelbezeichnung artikelname produktname artikeltext beschreibung designation libelle"
    " libelle_article nom_produit nom_article descripcion nombre_producto nombre_articulo descrizione"
    " nome_prodotto denominazione omschrijving productnaam artikelnaam nazwa nazwa_produktu nazwa_towaru"
    " opis nazev nazev_zbozi popis descricao nome_produto urun_adi aciklama lineitem_name product_name"
    " item_name description",
    "available_at": "geladen_am importiert_am",
    "parent": "ursprungsbestellung commande_origine pedido_original",
}
UNIT_PRICE = (
    r"unit|einzel|stueckpreis|stuckpreis|unitario|unitaria|unitaire|stukprijs|jednostk|jednotk|birim|per_item|each"
)
PRICE = r"price|preis|prix|precio|prezzo|prijs|cena|preco|fiyat|cost"
CATEGORY = (
    r"categor|kategor|warengruppe|gruppe|group|famil|department|aisle|class|marke|brand|rayon|marque|marca|merk|marka"
    r"|grupo|gruppo|groep|znacka|reparto|seccion|bolum|type|typ"
)


def normalised_name(name: str) -> str:
    """Normalise the name of a column.

    Parameters
    ----------
    name : str
        Name.

    Returns
    -------
    str
        Lower case letters without accents and digits, joined by underscores.

    Examples
    --------
    >>> normalised_name("Müşteri No"), normalised_name("Ilość"), normalised_name("Date d'achat")
    ('musteri_no', 'ilosc', 'date_achat')
    """
    text = plain_letters(name.lower().replace("ı", "i").replace("ł", "l").replace("ß", "ss").replace("ø", "o"))
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"\bd'", "", text)).strip("_")


def names_of(column: str) -> tuple[str, ...]:
    """List the usual names of a column of the contract.

    Parameters
    ----------
    column : str
        Column of the contract.

    Returns
    -------
    tuple of str
        Normalised names.

    Examples
    --------
    >>> names_of("kind")[:3]
    ('art', 'typ', 'vorgang')
    """
    return tuple(dict.fromkeys(NAMES.get(column, "").split()))
